"""Writes the parts of the providers' pages that are facts of the code: `python docs/_generate.py`.

A page is `docs/providers/NAME.md`, or `docs/providers.md` for the comparison of all. Only what is between the lines
BEGIN and END is replaced; the rest is written by hand. A test checks that the pages are current.

The tables of errors are answers that were given to the provider's class, and what it made of them.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from attrs import fields, frozen

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

import aiowatermark as aw  # noqa: E402 - the package beside this file, also where another one is installed
from aiowatermark import options as options_module  # noqa: E402
from aiowatermark.capabilities import ImageLimits  # noqa: E402
from aiowatermark.client.engine.failures import nothing_was_paid  # noqa: E402
from aiowatermark.jobs import Job, Record, Snapshot, Status  # noqa: E402
from aiowatermark.media.memory import Link  # noqa: E402
from aiowatermark.providers import _visual, photoeraser  # noqa: E402
from aiowatermark.wire import Json, Multipart, Request, Response  # noqa: E402

BEGIN = "<!-- from here to the next comment: written by docs/_generate.py -->"
END = "<!-- by hand from here -->"
EXAMPLES: Mapping[str, str] = {
    "smear": 'smear="strokes.png"',
    "predict_mode": 'predict_mode="2.0"',
    "mask_base": 'mask_base="mask.png"',
}
"""Examples of options for which that of the type would tell less, or be refused."""
_EXAMPLES_BY_TYPE: tuple[tuple[type, object], ...] = ((bool, True), (int, 5), (float, 0.5), (str, "…"))
_PRICED_BY_ANSWER = ("picwish",)
"""Providers whose answers tell what a job cost: `result.charged`."""
_STATUSES = (400, 401, 402, 403, 404, 408, 413, 429, 500, 502, 503, 504)
_NO_MONEY = "insufficient balance"
# codes in the body of an answer whose HTTP status is 200: as text, and one of them
_CODES: Mapping[str, tuple[tuple[str, int], ...]] = {
    **dict.fromkeys(("picwish", "gptge"), tuple((str(code), code) for code in (400, 401, 413, 429, 500))),
    "kaze": (*((str(code), code) for code in (1000, 1001, 1002, 1003)), ("11xx", 1100)),
    "photoeraser": (
        *((str(code), code) for code in (374004, 490000, 490027, 490505)),
        ("68xxxx", 680000),
        ("5xxxxx", 500000),
    ),
}
_CODE_FIELD = {"picwish": "status", "gptge": "status", "kaze": "code", "photoeraser": "code"}
_STATES: Mapping[str, Mapping[int, tuple[str, bool | None]]] = {
    "picwish": _visual.FAILURES,
    "gptge": _visual.FAILURES,
    "photoeraser": {
        state: (text, True if state == photoeraser._TIMED_OUT else None)  # noqa: SLF001
        for state, text in photoeraser._FAILURES.items()  # noqa: SLF001
    },
}
_RETRYABLE = {True: "the same picture, later", False: "another picture", None: "the provider does not tell"}


def providers() -> list[type[aw.Provider]]:
    """Return the providers of this package, in the order in which the pages list them."""
    return [aw.PicWish, aw.GptGe, aw.Kaze, aw.PhotoEraser, aw.Dewatermark]


def account(provider: type[aw.Provider]) -> aw.Provider:
    """Return an account with made-up keys; nothing is sent with it."""
    return provider(**dict.fromkeys(provider.env, "key"))


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    lines = [list(header), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


# what it takes


def image_limits(limits: ImageLimits) -> Iterator[str]:
    """Yield the limits of images."""
    if limits.formats is None:
        yield "formats and sizes are not documented"
        return
    yield ", ".join(sorted(name.upper() for name in limits.formats))
    if limits.max_side is not None:
        least = f"{limits.min_side:,} to" if limits.min_side > 1 else "at most"
        yield f"{least} {limits.max_side:,} pixels a side"
    if limits.max_aspect is not None:
        yield f"an aspect ratio within {limits.max_aspect:g}:1"
    if limits.max_bytes is not None:
        yield f"at most {limits.max_bytes / 1e6:g} MB"


def _files(provider: type[aw.Provider]) -> str:
    return "yes" if provider.capabilities.files else "through the callback server of a client with `callbacks=`"


def _links(provider: type[aw.Provider]) -> str:
    found = provider.capabilities
    if not found.links:
        return "downloaded and uploaded by the SDK"
    return f"up to {found.batch} per job" if found.batch > 1 else "yes"


def _boxes(provider: type[aw.Provider]) -> str:
    found = provider.capabilities
    return f"up to {found.boxes} as they are, more are drawn as an image" if found.boxes else "drawn as an image"


def _videos(provider: type[aw.Provider]) -> str:
    limits = provider.capabilities.video_limits
    if not provider.capabilities.videos or limits is None:
        return "–"
    return (
        f"{limits.format.upper()}, {limits.fps:g} frames per second, at most {limits.seconds / 60:g} minutes; "
        "others are sent with a warning"
    )


def _callbacks(provider: type[aw.Provider]) -> str:
    if not provider.capabilities.callbacks:
        return "–"
    jobs = {kind: job for kind, job in _jobs(provider).items() if not account(provider).capabilities_for(job).callbacks}
    return f"yes, not of jobs {' or '.join(jobs)}" if jobs else "yes"


def _rate(provider: type[aw.Provider]) -> str:
    rate = account(provider).requests_per_second
    return "not documented" if rate is None else f"{rate:g} requests per second, submissions and queries together"


def _polling(provider: type[aw.Provider]) -> str:
    polling = account(provider).polling
    return f"first after {polling.first:g} s, then {polling.factor:g} times as long each, at most {polling.ceiling:g} s"


def _price_of_image(provider: type[aw.Provider]) -> str:
    found = account(provider)
    price = found.image_price(found.resolve_options({}))
    if price is None:
        return "not documented; the answer names it" if provider.name in _PRICED_BY_ANSWER else "not documented"
    pro = [found.image_price(found.resolve_options({"pro": True}))] if hasattr(fields(provider.Options), "pro") else []
    return "; ".join([f"{price:g} credit", *(f"{each:g} with `pro=True`" for each in pro)])


def _yes(value: object) -> str:
    return "yes" if value else "–"


_FACTS: Mapping[str, Callable[[type[aw.Provider]], str]] = {
    "image files": _files,
    "image URLs": _links,
    "images": lambda provider: "; ".join(image_limits(provider.capabilities.images)),
    "`mask=`": lambda provider: provider.capabilities.mask,
    "`aw.Boxes`": _boxes,
    "videos": _videos,
    "`client.refine`": lambda provider: _yes(provider.capabilities.refines),
    "callbacks": _callbacks,
    "price of an image": _price_of_image,
    "`client.credits()`": lambda provider: _yes(provider.credits is not aw.Provider.credits),
    "request rate": _rate,
    "queries": _polling,
}


# the account


def documented_arguments(provider: type[aw.Provider]) -> dict[str, str]:
    """Return the arguments of a provider's class with their text, from its docstring."""
    _, _, rest = inspect.cleandoc(provider.__doc__ or "").partition("\nArgs:\n")
    section = re.split(r"\n\n|\n(?=\S)", rest)[0]
    found = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def account_section(provider: type[aw.Provider]) -> Iterator[str]:
    """Yield how an account is made: arguments, variables, hosts and documents."""
    yield "## Account"
    keys = ", ".join(f'{name}="…"' for name in provider.env)
    yield f"`aw.{provider.__name__}({keys})`, or `aw.{provider.__name__}.from_env()` with the keys in the environment."
    yield table(["argument", ""], ((f"`{name}`", text) for name, text in documented_arguments(provider).items()))
    hosts = [provider.default_base_url, *filter(None, [getattr(provider, "CHINA", None)])]
    sources = " ".join(re.findall(r"^Source: (.*)$", inspect.cleandoc(provider.__doc__ or ""), re.MULTILINE))
    variables = ", ".join(f"`{variable}`" for variable in provider.env.values())
    yield table(
        ["", ""],
        [
            ["variables of `from_env()`", variables],
            ["hosts", ", ".join(f"`{host}`" for host in hosts)],
            ["documents", sources],
        ],
    )


# options


def option_texts() -> dict[str, str]:
    """Return what the docstrings in `aiowatermark/options.py` say of each option, without the names of providers."""
    tree = ast.parse(inspect.getsource(options_module))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Options")
    return {
        left.target.id: ast.literal_eval(right.value).partition(": ")[2]
        for left, right in pairwise(body)
        if isinstance(left, ast.AnnAssign) and isinstance(left.target, ast.Name) and isinstance(right, ast.Expr)
    }


def example(name: str) -> str:
    """Return an example of an option, as an argument of a call; a test gives it to the providers that have it."""
    hint = get_type_hints(options_module.Options)[name]
    kinds = (hint, *get_args(hint))
    listed = [value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]
    found = [*reversed(listed), *(value for kind, value in _EXAMPLES_BY_TYPE if kind in kinds)]
    if name in EXAMPLES or not found:
        return EXAMPLES[name]
    return f"{name}={json.dumps(found[0], ensure_ascii=False) if isinstance(found[0], str) else found[0]}"


def options_section(provider: type[aw.Provider]) -> Iterator[str]:
    """Yield the options of jobs."""
    texts = option_texts()
    yield "## Options"
    yield "Options are arguments of `remove`, `submit`, `refine` and `stream`, and `--option NAME=VALUE` in a shell."
    yield table(
        ["option", "default", "meaning"],
        (
            [f"`{example(option.name)}`", "–" if option.default is None else f"`{option.default}`", texts[option.name]]
            for option in fields(provider.Options)
        ),
    )


# requests


@frozen
class _Call:
    purpose: str
    flow: Any

    def row(self) -> list[str] | None:
        """The first request of the flow; None if the provider has no such call."""
        try:
            request = next(self.flow)
            while isinstance(request, Snapshot):
                request = next(self.flow)
        except (aw.Unsupported, StopIteration):
            return None
        return [self.purpose, f"`{request.method} {request.target}`", _encoding(request), _price(request)]


def _encoding(request: Request) -> str:
    kinds = ((Json, "JSON"), (Multipart, "form"))
    return next((name for kind, name in kinds if isinstance(request.body, kind)), "–")


def _price(request: Request) -> str:
    return "" if request.repeatable else "**paid**"


def _jobs(provider: type[aw.Provider]) -> dict[str, Job]:
    """Return a job of each kind, by what it is."""
    found = account(provider)
    image, mask = Link("https://example.com/1.jpg"), Link("https://example.com/mask.png")
    options = found.resolve_options({})
    if provider.capabilities.mask == "required":
        return {"with a mask": Job((image,), mask, options)}
    jobs = {"": Job((image,), None, options), "with a mask": Job((image,), mask, options)}
    values: dict[str, dict[str, Any]] = {"tier": {"tier": "advanced"}, "pro": {"pro": True}}
    for name in [option.name for option in fields(provider.Options) if option.name in values]:
        jobs[f"with `{example(name)}`"] = Job((image,), None, found.resolve_options(values[name]))
    return jobs


def _calls(provider: type[aw.Provider]) -> Iterator[_Call]:
    found = account(provider)
    for kind, job in _jobs(provider).items():
        yield _Call(f"an image {kind}".strip(), found.submit(job, None))
    if provider.capabilities.videos:
        yield _Call("a video: first, a URL to upload to", found.submit(_video(found), None))
    record = Record(
        "key", provider.name, Snapshot("TASK_ID", Status.QUEUED), video=provider.capabilities.videos, account="account"
    )
    yield _Call("query of a task", found.query(record))
    yield _Call("credits", found.credits())


def _video(found: aw.Provider) -> Job:
    return Job((Link("https://example.com/1.mp4"),), None, found.resolve_options({}), video=True)


def calls_section(provider: type[aw.Provider]) -> Iterator[str]:
    """Yield the requests that the SDK sends."""
    rows = [row for call in _calls(provider) if (row := call.row()) is not None]
    # a mask may go by the same call
    seen = {row[1]: row for row in reversed(rows)}
    yield "## Requests"
    yield table(["", "request", "body", ""], [row for row in rows if seen[row[1]] is row])


# errors


def _answers(provider: type[aw.Provider]) -> Iterator[tuple[str, str, Response]]:
    """Yield answers that refuse a request: a text in which {} stands for the code, the code, and the answer."""
    for status in _STATUSES:
        yield "HTTP {}", str(status), Response(status, {}, b"{}")
    text = json.dumps({"message": _NO_MONEY}).encode()
    for status in (400, 403, 429):
        yield "HTTP {} that speaks of credits", str(status), Response(status, {}, text)
    for status in (301, 302, 303, 307, 308):
        yield "HTTP {}", str(status), Response(status, {}, b"")
    for name, code in _CODES.get(provider.name, ()):
        field = _CODE_FIELD[provider.name]
        yield f"`{field}` {{}}", name, Response(200, {}, json.dumps({field: code}).encode())


def _outcome(error: aw.WatermarkError) -> str:
    if isinstance(error, aw.RateLimited):
        return "nothing was paid; sent again after a pause"
    return "nothing was paid" if nothing_was_paid(error) else "in doubt: `SubmissionInDoubt`"


def errors_section(provider: type[aw.Provider]) -> Iterator[str]:
    """Yield what answers mean, and the states of jobs that failed."""
    found = account(provider)
    groups: dict[tuple[str, str], dict[str, list[str]]] = {}
    for text, code, answer in _answers(provider):
        error = found.problem(answer)
        if error is not None:
            group = groups.setdefault((type(error).__name__, _outcome(error)), {})
            group.setdefault(text, []).append(code)
    field = _CODE_FIELD.get(provider.name)
    inside = f" `{field}` is in the body, also of an answer with HTTP 200." if field else ""
    yield "## Errors"
    yield f"What an answer becomes, and what that means if it is the answer to a submission.{inside}"
    yield table(
        ["answer", "error", "of a submission"],
        ([_joined(answers), f"`{name}`", outcome] for (name, outcome), answers in groups.items()),
    )
    yield from _states(provider)
    yield "[Errors](../reference/errors.md) says what you can do next."


def _joined(answers: Mapping[str, Iterable[str]]) -> str:
    return "; ".join(text.format(", ".join(codes)) for text, codes in answers.items())


def _states(provider: type[aw.Provider]) -> Iterator[str]:
    states = _STATES.get(provider.name)
    if states:
        yield "A job that was accepted and could not be done is `JobFailed`; `error.retryable` says what may succeed:"
        yield table(
            ["state", "meaning", "may succeed"],
            ([str(state), text, _RETRYABLE[retryable]] for state, (text, retryable) in states.items()),
        )


# pages


def provider_page(provider: type[aw.Provider]) -> str:
    """Return the generated part of a provider's page."""
    parts = [
        "## What it takes",
        table(["", ""], ([name, fact(provider)] for name, fact in _FACTS.items())),
        *options_section(provider),
        *account_section(provider),
        *calls_section(provider),
        *errors_section(provider),
    ]
    return "\n\n".join(parts)


def comparison() -> str:
    """Return the table that compares all providers, and a section for each."""
    header = ["", *(f"[{each.display_name}](providers/{each.name}.md)" for each in providers())]
    names = ("image files", "image URLs", "`mask=`", "`aw.Boxes`", "`client.refine`", "callbacks")
    names += ("price of an image", "`client.credits()`")
    rows = [[name, *(_FACTS[name](each) for each in providers())] for name in names]
    rows.insert(5, ["videos", *(_yes(each.capabilities.videos) for each in providers())])
    options = [" ".join(f"`{each.name}`" for each in fields(provider.Options)) for provider in providers()]
    parts = [table(header, [*rows, ["options", *options]])]
    for each in providers():
        summary = inspect.cleandoc(each.__doc__ or "").splitlines()[0]
        parts += [f"## {each.display_name}", f"{summary} [More](providers/{each.name}.md)"]
    return "\n\n".join(parts)


def replaced(page: Path, generated: str) -> str:
    """Return the text of a page with its generated part replaced."""
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{generated}\n\n{END}{after}"


def pages() -> Iterator[tuple[Path, str]]:
    """Yield each page with the text that it should have."""
    yield DOCS / "providers.md", replaced(DOCS / "providers.md", comparison())
    for provider in providers():
        page = DOCS / "providers" / f"{provider.name}.md"
        yield page, replaced(page, provider_page(provider))


if __name__ == "__main__":
    for path, text in list(pages()):
        path.write_text(text)
