"""gpt.ge: images by file or URL, with a mask or boxes; results by polling, callback or in the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from ..capabilities import Capabilities
from ..http_errors import raise_unexpected
from ..introspection import documented
from ..jobs import Snapshot
from ..provider import Polling, api_key_field
from ..wire import Response
from ._visual import Call, VisualProvider


@documented
@frozen(slots=False)
class GptGe(VisualProvider):
    """A gpt.ge account: images by file or URL, with a mask or boxes if you have one.

    Jobs have one option: `sync=True` asks for the result in the answer to the submission.

    Args:
        api_key: the key shown in gpt.ge's console; `GptGe.from_env()` takes it from GPTGE_API_KEY.
        base_url: the origin of the API; a /v1 behind it is removed.
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
    capabilities = Capabilities(mask="optional", mask_links=True, boxes=50, callbacks=True)
    automatic = Call("/task/pic/watermark_auto", query_path="/task", callbacks=True)
    # another page of the vendor
    masked = Call("/task/pic/watermark", query_path="/task", image="image", callbacks=True)

    api_key: str = api_key_field()
    polling: Polling = field(default=Polling(first=1.5), kw_only=True)

    @property
    def headers(self) -> Mapping[str, str]:
        """The bearer token."""
        return {"Authorization": f"Bearer {self.api_key}"}

    def parse_task(self, data: Any, reply: Response, task_id: str | None = None) -> Snapshot:
        """Return the state in a `data` object.

        gpt.ge answers the query of any task at one path, in the shapes of many vendors: only a task with a `state` is
        one of these calls, so that nothing else is taken for its result.
        """
        if task_id is not None and not (isinstance(data, dict) and data.get("state") is not None):
            raise_unexpected("the answer is not that of a task of this call", reply)
        return super().parse_task(data, reply, task_id)
