# An example from the documents of Dewatermark (Remove Watermark), as it stands; the test replaces host and key.
# The backslash before the last line is missing there, too: the shell does not find a command of that name.
curl -X POST "https://platform.dewatermark.ai/api/object_removal/v2/erase_watermark" \
-H "X-API-KEY: API_KEY" \
--form 'session_id="SESSION_ID"' \
--form 'original_preview_image=@"IMAGE_FILE"' \
--form 'mask_base=@"MASK_BASE_FILE"'\
--form 'mask_brush=@"MASK_BRUSH_FILE"' \
--form 'remove_text="true"'
--form 'predict_mode="3.0"'
