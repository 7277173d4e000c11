# An example from the documents of gpt.ge (curl Example), as it stands; the test replaces host and key.
curl -X POST "https://api.gpt.ge/task/pic/watermark_auto" \
  -H "Authorization: Bearer sk-xxxx" \
  -F "url=https://example.com/image-with-watermark.png" \
  -F "sync=1"
