# An example from the documents of Dewatermark (Step 4: Poll Task Status), as it stands; the test replaces host and key.
curl --request GET \
--url https://platform.dewatermark.ai/api/video/v1/tasks/yIuf8WVuRE2pzP2WM48v \
--header 'X-API-KEY: YOUR_API_KEY'
