# An example from the documents of Kaze (with smear), as it stands; the test replaces host and key.
curl --location --request POST 'https://backend.kaze.ai/api/ext/v1/submit_watermark_removal' \
--header 'Authorization: Bearer ' \
--header 'Content-Type: application/json' \
--data-raw '{
"image_base64": "xxxxxxxxxxxxxxxxx",
"smear_url": "https://example.com/smear.png"
}'
