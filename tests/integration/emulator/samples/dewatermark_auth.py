# An example from the documents of Dewatermark (Authentication), as it stands; the test replaces host and key.
import requests
API_KEY = "YOUR_API_KEY"
headers = {
    "X-API-KEY": API_KEY
}
# Make API request
response = requests.get(
    "https://platform.dewatermark.ai/api/object_removal/v2/erase_watermark",
    headers=headers
)
# Added by the test, the example prints nothing
print(response.status_code)
