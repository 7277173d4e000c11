# An example from the documents of Dewatermark (Step 3: Submit Task), as it stands; the test replaces host and key.
curl --request POST \
--url https://platform.dewatermark.ai/api/video/v1/tasks \
--header 'Content-Type: multipart/form-data' \
--header 'X-API-KEY: YOUR_API_KEY' \
--form 'task_id=yIuf8WVuRE2pzP2WM48v'
