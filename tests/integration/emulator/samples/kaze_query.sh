# An example from the documents of Kaze (Task Result Query), as it stands; the test replaces host and key.
curl --location --request POST 'https://backend.kaze.ai/api/ext/v1/get_task_result' \
--header 'Authorization: Bearer ' \
--header 'Content-Type: application/json' \
--data-raw '{
"task_id": "aaabbbccc"
}'
