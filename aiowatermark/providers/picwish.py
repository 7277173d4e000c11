"""PicWish: images by file or URL, at its global host or its host in China."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from attrs import field, frozen

from ..capabilities import Capabilities, ImageLimits
from ..introspection import documented
from ..provider import Polling, api_key_field
from ._visual import VisualProvider


@documented
@frozen(slots=False)
class PicWish(VisualProvider):
    """A PicWish account: images by file or URL.

    Jobs have one option: `sync=True` asks for the result in the answer to the submission.

    Args:
        api_key: the key shown in PicWish's console; `PicWish.from_env()` takes it from PICWISH_API_KEY.
        base_url: the origin of the API; `PicWish.CHINA` is the host in China.
        polling: the schedule of queries for a job's state.
        requests_per_second: the limit for submissions and queries together; the default is the documented one.
        account: a stable name for the account, which keeps its jobs when the API key changes; the default is a digest
            of the credentials.

    Raises InvalidInput for an invalid key or base_url.
    Source: «Image Watermark Removal API».
    """

    CHINA: ClassVar[str] = "https://techsz.aoscdn.com"
    name = "picwish"
    display_name = "PicWish"
    default_base_url = "https://techhk.aoscdn.com"
    env = {"api_key": "PICWISH_API_KEY"}
    # limits: «Guidelines and Limits» 5; callback_url: older documents only
    capabilities = Capabilities(
        images=ImageLimits(frozenset({"jpeg", "png", "bmp"}), min_side=20, max_side=10_000, max_bytes=50_000_000),
        callbacks=True,
    )
    submit_path = "/api/tasks/visual/external/watermark-remove"
    query_path = submit_path

    api_key: str = api_key_field()
    polling: Polling = field(default=Polling(first=1.5), kw_only=True)
    requests_per_second: float | None = field(default=2.0, kw_only=True)

    @property
    def headers(self) -> Mapping[str, str]:
        """The API key."""
        return {"X-API-KEY": self.api_key}
