"""What the servers of the emulator answer where no API is: what they are at `/`, and a 404 at any other path."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aiohttp import web

from ...provider import Provider
from ...providers import provider_class

_API_PAGE = """\
aiowatermark emulator

The APIs of the providers below, emulated on this machine for trying and testing.
Nothing costs money, and nothing is sent elsewhere.

The base URL of each of them is {base_url}

{table}

The keys are those that `aiowatermark emulator` printed at its start, or, in
Python, Emulator.keys.

On the command line:

  export AIOWATERMARK_BASE_URL={base_url}
  aiowatermark remove photo.jpg --provider {name} -o clean

In Python:

  aiowatermark.{class_name}(..., base_url="{base_url}")

Documentation of aiowatermark: "The emulator" and "Command line"
"""
_STORAGE_PAGE = """\
The storage of the aiowatermark emulator

It serves results and takes uploads at the signed URLs that the emulated APIs give.
{address}"""
_UNKNOWN = "404: nothing is emulated at this path; / says what is\n"


def api_page(base_url: str, names: Iterable[str]) -> str:
    """Return what the server of the emulated APIs is, and how to use it."""
    kinds = [provider_class(name) for name in names]
    rows = [("provider", "--provider", "key"), *(_row(kind) for kind in kinds)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    table = "\n".join(f"  {title:<{widths[0]}}  {name:<{widths[1]}}  {keys}" for title, name, keys in rows)
    example = kinds[0]
    return _API_PAGE.format(base_url=base_url, table=table, name=example.name, class_name=example.__name__)


def _row(kind: type[Provider]) -> tuple[str, str, str]:
    return kind.display_name, kind.name, ", ".join(kind.env.values())


def storage_page(base_url: str) -> str:
    """Return what the server of results and uploads is; `base_url` is that of the APIs, empty while it is not known."""
    return _STORAGE_PAGE.format(address=f"The APIs are at {base_url}\n" if base_url else "")


def add_pages(application: web.Application, page: Callable[[], str]) -> None:
    """Answer at `/` with a page and at all paths that no other route of an application has with a 404."""

    async def index(_: web.Request) -> web.Response:
        return web.Response(text=page())

    async def unknown(_: web.Request) -> web.Response:
        return web.Response(status=404, text=_UNKNOWN)

    application.router.add_get("/", index)
    application.router.add_route("*", "/{path:.*}", unknown)
