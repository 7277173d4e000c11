"""Paths: the calls of each provider that can be recorded, as a table, with what each of them costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, fields, frozen

from ... import Provider

_NO_PRICE = "the provider's documents name no price"


@frozen
class RecordingPath:
    """One call, or one sequence of calls, that is made once.

    `media` is what it needs: a file (the user's or a sample), a URL or a video of the user's, a URL that leads nowhere,
    or nothing. `submissions` is how many paid requests it makes, `price` what is known of their price. `arguments` are
    parameters of the provider's class or, if that has no such parameter, options of the job. `wrong_key` makes the call
    with a key that the provider cannot know.
    """

    name: str
    summary: str
    media: Literal["file", "url", "video", "broken url", "none"] = "none"
    call: Literal["submit", "refine", "query", "credits"] = "submit"
    submissions: int = 1
    price: str = _NO_PRICE
    mask: bool = False
    urls: int = 1
    arguments: Mapping[str, Any] = field(factory=dict)
    wrong_key: bool = False

    @property
    def cost(self) -> str:
        """What the path costs, as a text."""
        if not self.submissions:
            return "free"
        return f"{self.submissions} submission{'s' if self.submissions > 1 else ''} ({self.price})"

    def settings(self, kind: type[Provider]) -> Mapping[str, Any]:
        """Return the arguments that are parameters of the provider's class."""
        names = {attribute.name for attribute in fields(kind)}
        return {name: value for name, value in self.arguments.items() if name in names}

    def options(self, kind: type[Provider]) -> Mapping[str, Any]:
        """Return the arguments that are options of a job."""
        return {name: value for name, value in self.arguments.items() if name not in self.settings(kind)}

    def is_offered_by(self, kind: type[Provider]) -> bool:
        """Whether the provider's class has the call, and the parameters and options that the path uses."""
        options = {attribute.name for attribute in fields(kind.Options)}
        mask = not self.mask or kind.capabilities.mask != "none"
        credits_ = self.call != "credits" or kind.credits is not Provider.credits
        return mask and credits_ and self.options(kind).keys() <= options


_FILE = RecordingPath("submit-file", "submit an image file, wait, save the result", "file")
_URL = RecordingPath("submit-url", "submit an image by its URL, wait, save the result", "url")
_SYNC = RecordingPath("submit-sync", "submit an image file with sync=1", "file", arguments={"sync": True})
_MASK = RecordingPath("mask", "submit an image file with a mask", "file", mask=True)
_VIDEO = RecordingPath("video", "upload and submit a video, wait, save the result", "video")
_CREDITS = RecordingPath("credits", "query the balance", call="credits", submissions=0)
_UNKNOWN = RecordingPath("unknown-task", "query a task that does not exist", call="query", submissions=0)
_WRONG_KEY = RecordingPath("bad-key", "submit with a key that is not valid", "file", submissions=0, wrong_key=True)
_URL_WRONG_KEY = RecordingPath("bad-key", _WRONG_KEY.summary, "url", submissions=0, wrong_key=True)
_BROKEN_URL = RecordingPath(
    "broken-url", "submit a URL that leads to no image", "broken url", price="failed tasks may be charged"
)

PATHS: Mapping[str, tuple[RecordingPath, ...]] = {
    "gptge": (_FILE, _URL, _SYNC, _MASK, _BROKEN_URL, _UNKNOWN, _WRONG_KEY),
    "picwish": (
        _FILE,
        _URL,
        _SYNC,
        RecordingPath(
            "advanced",
            "submit an image file to the better remover",
            "file",
            price="field reports: 2 or 10 credits",
            arguments={"tier": "advanced"},
        ),
        _MASK,
        _BROKEN_URL,
        _CREDITS,
        _UNKNOWN,
        _WRONG_KEY,
    ),
    "kaze": (_FILE, _URL, _MASK, _BROKEN_URL, _CREDITS, _UNKNOWN, _WRONG_KEY),
    "photoeraser": (
        RecordingPath("submit-url", "submit an image by its URL, with a mask", "url"),
        RecordingPath("batch", "submit two URLs in one job", "url", urls=2, price="two images, no price documented"),
        _UNKNOWN,
        _URL_WRONG_KEY,
    ),
    "dewatermark": (
        RecordingPath("submit-file", "submit an image, save the result", "file", price="1 credit"),
        RecordingPath(
            "refine",
            "submit an image, then refine the result with a mask",
            "file",
            call="refine",
            submissions=2,
            price="1 credit each",
            mask=True,
        ),
        RecordingPath("v3", "submit an image to version v3", "file", price="1 credit", arguments={"version": "v3"}),
        RecordingPath("pro", "submit an image to the PRO call", "file", price="3 credits", arguments={"pro": True}),
        RecordingPath(
            "video",
            "upload and submit a video, wait, save the result",
            "video",
            price="0.2 credits a second, 0.5 in newer documents",
        ),
        _CREDITS,
        RecordingPath("unknown-task", "query a video that does not exist", call="query", submissions=0),
        _WRONG_KEY,
    ),
}


def paths_of(kind: type[Provider]) -> tuple[RecordingPath, ...]:
    """Return the paths of a provider; those of a class of another package follow from its capabilities."""
    return tuple(path for path in PATHS.get(kind.name) or _general_paths(kind) if path.is_offered_by(kind))


def _general_paths(kind: type[Provider]) -> tuple[RecordingPath, ...]:
    capabilities = kind.capabilities
    possible = (
        (_FILE, capabilities.files),
        (_URL, capabilities.links),
        (_MASK, capabilities.files),
        (_VIDEO, capabilities.videos),
        (_CREDITS, True),
        (_UNKNOWN, kind.query is not Provider.query),
        (_WRONG_KEY if capabilities.files else _URL_WRONG_KEY, True),
    )
    return tuple(path for path, offered in possible if offered)
