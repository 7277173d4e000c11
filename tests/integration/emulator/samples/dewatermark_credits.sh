# An example from the documents of Dewatermark (Tracking Credit Balance), as it stands; the test replaces host and key.
curl --request GET \
--url https://platform.dewatermark.ai/api/creditInfo \
--header 'X-API-KEY: YOUR_API_KEY'
