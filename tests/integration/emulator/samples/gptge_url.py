# An example from the documents of gpt.ge (Python Example), as it stands; the test replaces host and key.
import requests

url = 'https://api.gpt.ge/task/pic/watermark_auto'
headers = {
    'Authorization': 'Bearer sk-xxxx'
}

files = {
    'url': (None, 'https://example.com/image-with-watermark.png')
}
data = {
    'sync': '1'
}

response = requests.post(url, headers=headers, files=files, data=data)
print(response.json())
