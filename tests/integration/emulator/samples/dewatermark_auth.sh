# An example from the documents of Dewatermark (Authentication), as it stands; the test replaces host and key.
curl "https://platform.dewatermark.ai/api/object_removal/v2/erase_watermark" \
-H "X-API-KEY: <API-KEY>"
