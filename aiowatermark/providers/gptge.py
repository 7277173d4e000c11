"""gpt.ge: images by file or URL, with results by polling, callback or in the answer."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from ..capabilities import Capabilities
from ..provider import Polling, api_key_field
from ._visual import VisualProvider


@frozen(slots=False)
class GptGe(VisualProvider):
    """A gpt.ge account. Options: `sync`. Source: «Remove Watermark - Automatic»."""

    name = "gptge"
    display_name = "gpt.ge"
    default_base_url = "https://api.gpt.ge"
    env = {"api_key": "GPTGE_API_KEY"}
    capabilities = Capabilities(callbacks=True)
    submit_path = "/task/pic/watermark_auto"
    query_path = "/task"

    api_key: str = api_key_field()
    polling: Polling = field(default=Polling(first=1.5), kw_only=True)

    @property
    def headers(self) -> Mapping[str, str]:
        """The bearer token."""
        return {"Authorization": f"Bearer {self.api_key}"}
