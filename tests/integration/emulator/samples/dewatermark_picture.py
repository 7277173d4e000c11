# An example from the documents of Dewatermark (Remove Watermark), as it stands; the test replaces host and key.
# Its optional lines, the two refinements, are uncommented.
import requests
import base64
import uuid
import os
from io import BytesIO

def erase_watermark(original_preview_image=None, mask_base=None, mask_brush=None, session_id=None, remove_text="true"):
    API_KEY = "YOUR_API_KEY"
    erase_url = "https://platform.dewatermark.ai/api/object_removal/v2/erase_watermark"
    headers = {
        "X-API-KEY": API_KEY
    }
    erase_files = {}
    if original_preview_image is not None:
        if isinstance(original_preview_image, str) and os.path.isfile(original_preview_image):
            image_file = open(original_preview_image, "rb")
            file_original_preview_image = ("original_preview_image.jpeg", image_file)
        else:
            image_bytes = base64.b64decode(original_preview_image)
            image_file = BytesIO(image_bytes)
            file_original_preview_image = ("original_preview_image.jpeg", image_file)
        erase_files["original_preview_image"] = file_original_preview_image
    else:
        if session_id is not None:
            erase_files["session_id"] = (None, session_id)
        else:
            raise ValueError("Either original_preview_image or session_id must be provided.")
    if mask_base is not None:
        image_bytes = base64.b64decode(mask_base)
        image_file = BytesIO(image_bytes)
        file_mask_base = ("mask_base.jpeg", image_file)
    if mask_brush is not None:
        image_file = open(mask_brush, "rb")
        file_mask_brush = ("mask_brush.png", image_file)
    if original_preview_image is not None:
        erase_files["original_preview_image"] = file_original_preview_image
    if mask_base is not None:
        erase_files["mask_base"] = file_mask_base
    if mask_brush is not None:
        erase_files["mask_brush"] = file_mask_brush
    erase_files["remove_text"] = (None, remove_text)
    data = {"predict_mode": "3.0"}
    erase_response = requests.post(erase_url, headers=headers, files=erase_files, data = data)
    response_data = erase_response.json()
    return {
        "session_id": response_data["session_id"],
        "image_base64": response_data["edited_image"]["image"],
        "mask_base": response_data["edited_image"]["mask"]
    }

# Initial call: Automatically detect and remove visible watermarks using AI
auto_result = erase_watermark("input.jpeg")

# Optional: Uncomment this line to preview the auto-processed result (Base64-encoded image)
output_image_path = "output_image.jpg"
image_data = base64.b64decode(auto_result['image_base64'])
with open(output_image_path, 'wb') as f:
    f.write(image_data)
print(f"Image saved to {output_image_path}")

# Manual refinement: If some watermarks remain, manually specify areas to remove using a brush mask
manual_result_step_1 = erase_watermark(
    original_preview_image=auto_result["image_base64"],
    mask_base=auto_result["mask_base"],
    mask_brush="mask_brush_manual_step_1.png"
)

# Optional: Uncomment this line to preview the result after first manual correction
print(manual_result_step_1["image_base64"])

# Optimization: On subsequent calls, use session_id instead of re-uploading the original image
manual_result_step_2 = erase_watermark(
    session_id=manual_result_step_1["session_id"],
    mask_base=manual_result_step_1["mask_base"],
    mask_brush="mask_brush_manual_step_2.png"
)

# Output the final cleaned image (Base64 format)
print(manual_result_step_2["image_base64"])
