"""Keys in answers that the providers' documents name, so that a recording can tell which others there are."""

from __future__ import annotations

from collections.abc import Mapping

_VISUAL = frozenset(
    {
        *("status", "message", "data", "data.task_id", "data.state", "data.state_detail", "data.progress", "data.file"),
        *("data.image", "data.image_url", "data.created_at", "data.processed_at", "data.completed_at"),
    }
)

DOCUMENTED_KEYS: Mapping[str, frozenset[str]] = {
    "gptge": _VISUAL,
    "picwish": _VISUAL,
    "kaze": frozenset(
        {
            *("code", "message", "data", "data.task_id", "data.status", "data.images", "data.images[].url"),
            *("data.limit", "data.usage", "data.remaining"),
        }
    ),
    "photoeraser": frozenset(
        {
            *("code", "msg", "data", "data.task_id", "data.status", "data.wait_time", "data.list"),
            *("data.list[].image_result", "data.list[].status", "data.list[].reason"),
        }
    ),
    "dewatermark": frozenset(
        {
            *("edited_image", "edited_image.image", "edited_image.image_id", "edited_image.mask"),
            *("edited_image.watermark_mask", "event_id", "session_id", "status", "data", "data.available_credit"),
            *("data.user_id", "task_id", "upload_signed_url", "download_signed_url", "file_path", "created_at"),
            *("push_notification_token", "has_watermark", "instance_name", "progress", "completed_at", "duration"),
            "started_at",
        }
    ),
}
