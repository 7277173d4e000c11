# An example from the documents of Dewatermark (Tracking Credit Balance), as it stands; the test replaces host and key.
import requests
API_KEY = "YOUR_API_KEY"
headers = {
    "X-API-KEY": API_KEY
}
response = requests.get(
    "https://platform.dewatermark.ai/api/creditInfo",
    headers=headers
)
data = response.json()
print(f"Available credit: {data['data']['available_credit']}")
