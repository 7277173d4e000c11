# An example from the documents of Dewatermark (Step 1: Generate Upload URL), as it stands; the test replaces host and key.
curl --request POST \
--url https://platform.dewatermark.ai/api/video/v1/upload \
--header 'Content-Type: multipart/form-data' \
--header 'X-API-KEY: YOUR_API_KEY'
