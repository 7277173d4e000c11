"""gpt.ge: images by file or URL, with results by polling, callback or in the answer."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from ..capabilities import Capabilities
from ..introspection import documented
from ..provider import Polling, api_key_field
from ._visual import VisualProvider


@documented
@frozen(slots=False)
class GptGe(VisualProvider):
    """A gpt.ge account: images by file or URL.

    Jobs have one option: `sync=True` asks for the result in the answer to the submission.

    Args:
        api_key: the key shown in gpt.ge's console; `GptGe.from_env()` takes it from GPTGE_API_KEY.
        base_url: the origin of the API.
        polling: the schedule of queries for a job's state.
        requests_per_second: the limit for submissions and queries together; None: no limit is documented.
        account: a stable name for the account, which keeps its jobs when the API key changes; the default is a digest
            of the credentials.

    Raises InvalidInput for an invalid key or base_url.
    Source: «Remove Watermark - Automatic».
    """

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
