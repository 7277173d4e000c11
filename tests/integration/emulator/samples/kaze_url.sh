# An example from the documents of Kaze (using URL), as it stands; the test replaces host and key.
curl --location --request POST 'https://backend.kaze.ai/api/ext/v1/submit_watermark_removal' \
--header 'Authorization: Bearer ' \
--header 'Content-Type: application/json' \
--data-raw '{
"image_url": "https://example.com/image.png"
}'
