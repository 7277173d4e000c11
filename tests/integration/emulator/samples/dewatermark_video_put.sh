# An example from the documents of Dewatermark (Step 2: Upload Video File), as it stands; the test replaces host and key.
# Replace UPLOAD_SIGNED_URL with the URL from Step 1
curl --request PUT \
--url "UPLOAD_SIGNED_URL" \
--header 'Content-Type: application/octet-stream' \
--data-binary '@/path/to/your/video.mp4'
