"""The pages of docs/start and docs/how-to do what they show, on the emulator; troubleshooting knows all errors.

Pages with shell blocks are followed as a reader would; the fragments of the others run in one namespace.
"""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import field, frozen

import aiowatermark as aw
from aiowatermark import errors
from aiowatermark.emulator import Emulator, pictures
from aiowatermark.provider import CALLBACK_POLLING
from aiowatermark.stores.sqlite import worker
from aiowatermark.transport import retry
from aiowatermark.transport.network import sessions
from tests.support.certificates import server_context
from tests.support.documents import DOCUMENTS, read_blocks, run_blocks
from tests.support.guides import Block, matches, open_session, read_page
from tests.support.http_server import free_port
from tests.support.processes import REPOSITORY
from tests.support.redis_server import RedisServer
from tests.support.videos import make_mp4

DOCS = REPOSITORY / "docs"
PACKAGE = REPOSITORY / "aiowatermark"
SESSIONS = {
    document.relative_to(DOCS).as_posix(): document
    for document in DOCUMENTS[1:]
    if any(block.mark for block in read_page(document))
}
"""Pages with a block that has a mark."""
Prepare = Callable[[aw.Provider, Emulator], Awaitable[None]]


async def drop_an_answer(_: aw.Provider, emulator: Emulator) -> None:
    emulator.gptge.drop_answer()


async def leave_jobs_behind(provider: aw.Provider, emulator: Emulator) -> None:
    """A result and a failure that nobody took, and a job in doubt."""
    async with aw.Client(provider, store=aw.SQLiteStore("jobs.db")) as client:
        await client.remove("photo.jpg", key="finished")
        emulator.gptge.fail_job()
        await client.submit("photo.jpg", key="failure")
        await client.drain()
    async with aw.Client(provider, store=aw.SQLiteStore("jobs.db")) as client:
        emulator.gptge.drop_answer()
        with pytest.raises(aw.SubmissionInDoubt):
            await client.submit("photo.jpg", key="doubt")


@frozen
class Fragments:
    """How the Python blocks of a page are run: with this provider, after `prepare`, with texts replaced.

    `charged` is what the provider has charged then, `printed` a part of what was printed; "…" stands for any text.
    """

    charged: int
    provider: str = "gptge"
    printed: str = ""
    saved: tuple[str, ...] = ()
    replaced: Mapping[str, str] = field(factory=dict)
    prepare: Prepare | None = None


FRAGMENTS = {
    "how-to/after-a-crash.md": Fragments(
        3,
        printed="failed: failure …look at the account: doubt",
        saved=("finished.jpg",),
        prepare=leave_jobs_behind,
    ),
    "how-to/batch.md": Fragments(3, saved=("clean/1.jpg", "clean/3.jpg")),
    "how-to/cost-control.md": Fragments(3, "picwish", "credits for 3 jobs\n0 in doubt, 0 not paid again"),
    "how-to/masks-and-boxes.md": Fragments(4, "picwish", "Done"),
    "how-to/network.md": Fragments(1, printed="ready: False"),
    "how-to/notebooks.md": Fragments(4, printed="Done"),
    "how-to/queues.md": Fragments(1, printed="4711-clean.jpg\n4711-clean.jpg"),
    "how-to/redis.md": Fragments(1, saved=("clean.jpg",)),
    "how-to/refinement.md": Fragments(3, "dewatermark", saved=("refined.jpg",)),
    "how-to/video.md": Fragments(1, "dewatermark", "succeeded", ("clean.mp4",)),
    "how-to/webhooks-aiohttp.md": Fragments(1),
    "how-to/webhooks-workers.md": Fragments(0),
    "explanation/connections.md": Fragments(1),
    "troubleshooting.md": Fragments(
        1,
        printed="look at the account: order-4711",
        saved=("clean.jpg",),
        replaced={'"1f2e3d4c"': "emulator.tasks[0].task_id"},
        prepare=drop_an_answer,
    ),
}


@cache
def files() -> dict[str, bytes]:
    """The files that the pages name."""
    photo = pictures.sample_photo()
    _, mask = pictures.stamp(photo, pictures.sample_mark())
    numbered = {f"{number}.jpg": pictures.sample_photo(seed=number) for number in (1, 2, 3)}
    orders = b"id,photo\n1,1.jpg\n2,2.jpg\n3,3.jpg\n"
    named = {"photo.jpg": photo, "mask.png": mask, "brush.png": mask, "clip.mp4": make_mp4(100_000)}
    return {**named, **numbered, "orders.csv": orders}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clean").mkdir()
    server_context(tmp_path)
    (tmp_path / "server.pem").rename("company-ca.pem")
    for name, content in files().items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize("page", FRAGMENTS)
async def test_the_code_of_a_page_runs(
    page: str, emulator: Emulator, folder: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    expected, provider = FRAGMENTS[page], emulator.provider(FRAGMENTS[page].provider)
    port = free_port()
    replaced = {
        "https://hooks.example.com/wm": f"http://127.0.0.1:{port}/wm",
        "port=8080": f"port={port}",
        **expected.replaced,
    }
    if page == "how-to/redis.md":
        replaced["redis://127.0.0.1:6379/0"] = request.getfixturevalue("redis_url")
    names: dict[str, Any] = {
        "aw": aw,
        "emulator": emulator,
        "provider": provider,
        "paths": [folder / f"{number}.jpg" for number in (1, 2, 3)],
        "aiohttp_app": web.Application(),
    }
    if expected.prepare is not None:
        await expected.prepare(provider, emulator)
    await run_blocks(read_blocks(REPOSITORY / "docs" / page), names, replaced)
    assert emulator.charged[expected.provider] == expected.charged
    assert matches(f"…{expected.printed}…", capsys.readouterr().out)
    assert [name for name in expected.saved if not (folder / name).exists()] == []


@pytest.fixture
def redis_url() -> Iterator[str]:
    with RedisServer() as server:
        server.skip_quiet_time("shop")
        yield server.url


def test_every_page_with_code_is_run() -> None:
    pages = [
        page for folder in ("how-to", "explanation", "start") for page in (REPOSITORY / "docs" / folder).glob("*.md")
    ]
    with_code = {page.relative_to(DOCS).as_posix() for page in pages if read_blocks(page)}
    assert with_code <= SESSIONS.keys() | FRAGMENTS.keys()
    assert not SESSIONS.keys() & FRAGMENTS.keys()


def test_troubleshooting_has_a_section_for_each_error_and_says_whether_anything_was_paid() -> None:
    text = (DOCS / "troubleshooting.md").read_text()
    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##)", text, re.DOTALL | re.MULTILINE))
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, aw.WatermarkError)]
    assert sections.keys() == {each.__name__ for each in classes}
    for name, section in sections.items():
        assert re.findall(r"^- \*\*([\w ]+):\*\*", section, re.MULTILINE) == ["What happened", "Paid", "Next"], name


@pytest.mark.slow
@pytest.mark.parametrize("page", SESSIONS)
async def test_a_page_that_is_followed_prints_what_it_shows(page: str, tmp_path: Path) -> None:
    async with open_session(tmp_path) as session:
        await session.follow(read_page(SESSIONS[page]))
    assert session.executed


@pytest.mark.parametrize("page", SESSIONS)
def test_every_python_block_of_a_page_that_is_followed_is_a_file_of_it(page: str) -> None:
    files = [block.code for block in read_page(SESSIONS[page]) if block.mark == "file"]
    assert [block for block in read_blocks(SESSIONS[page]) if block not in files] == []


def test_the_chapter_for_beginners_is_followed() -> None:
    assert {f"start/{name}.md" for name in ("install", "first-image", "first-test", "first-service")} <= SESSIONS.keys()


async def test_what_a_page_shows_and_does_not_happen_is_a_failure(tmp_path: Path) -> None:
    async with open_session(tmp_path) as session:
        await session.follow([Block("sh", "echo one two three", output="one … three")])
        for wrong in (Block("sh", "echo one", output="two"), Block("sh", "false")):
            with pytest.raises(AssertionError, match="the page shows"):
                await session.follow([wrong])
    assert not matches("one …", "zero one two")


FIGURES = {
    "explanation/connections.md": (
        f"| paid ones | at most {sessions._PAID_KEEPALIVE:g} s |",
        f"| queries | at most {sessions._QUERY_KEEPALIVE:g} s |",
        "six attempts in all" if retry.MAX_ATTEMPTS == 6 else "",
    ),
    "troubleshooting.md": (
        f"intervals of {CALLBACK_POLLING.first:g} s, then {CALLBACK_POLLING.after(CALLBACK_POLLING.first):g} s",
        f"and so on, up to {CALLBACK_POLLING.ceiling:g} s",
        f"it waited {worker._LOCK_TIMEOUT:g} s",
    ),
    "how-to/network.md": (f"`drain=` seconds ({inspect.signature(aw.Client).parameters['drain'].default:g})",),
    "how-to/redis.md": (f"one `lease` ({aw.RedisStore('redis://127.0.0.1').lease:g} s)",),
    "how-to/batch.md": (f"seconds ({aw.SQLiteStore('jobs.db').keep / 86400:g} days)",),
}


@pytest.mark.parametrize("page", FIGURES)
def test_the_figures_of_a_page_are_those_of_the_code(page: str) -> None:
    text = " ".join((DOCS / page).read_text().split())
    assert [figure for figure in FIGURES[page] if not figure or figure not in text] == []


def test_every_extra_is_explained_where_the_installation_is() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = (DOCS / "start/install.md").read_text()
    assert [extra for extra in extras if not re.search(rf"^\| .*`{extra}`.* \|.*\|", text, re.MULTILINE)] == []


def texts_of_the_package() -> str:
    """Return the texts in the source, one per line; "…" stands for what an f-string inserts."""
    nodes = (node for path in PACKAGE.rglob("*.py") for node in ast.walk(ast.parse(path.read_text())))
    return "\n".join(text for node in nodes if (text := _text_of(node)))


def _text_of(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(each.value) if isinstance(each, ast.Constant) else "…" for each in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_the_sentences_that_pages_explain_are_those_of_the_package() -> None:
    texts, quoted = texts_of_the_package(), []
    for document in DOCUMENTS:
        for rows in re.findall(
            r"^\| the sentence says \|.*\n\|[-|]+\n((?:\|.*\n)+)", document.read_text(), re.MULTILINE
        ):
            quoted += [quote for row in rows.splitlines() for quote in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(quoted) > 10
    missing = [each for each in quoted if not re.search(".*".join(map(re.escape, each.split("…"))), texts)]
    assert missing == []


Inject = Callable[[Emulator], object]

SAME_KEY: dict[str, tuple[type[aw.WatermarkError], Inject, type[aw.WatermarkError] | None]] = {
    "no credits": (aw.InsufficientCredits, lambda emulator: setattr(emulator.picwish, "credits", 0), None),
    "429": (aw.RateLimited, lambda emulator: emulator.picwish.limit_rate(retry_after=60), None),
    "refused": (aw.Rejected, lambda emulator: emulator.picwish.reject(), None),
    "slow": (aw.DeadlineExceeded, lambda emulator: setattr(emulator.picwish, "processing", 120), None),
    "lost answer": (aw.SubmissionInDoubt, lambda emulator: emulator.picwish.drop_answer(), aw.SubmissionInDoubt),
    "failed": (aw.JobFailed, lambda emulator: emulator.picwish.fail_job(), aw.JobFailed),
}
"""How a job ends, and what the same key gives when the cause is gone: a result (None), or the same error."""


@pytest.mark.parametrize("case", SAME_KEY)
async def test_asking_again_with_the_same_key_pays_at_most_once_and_gives_what_troubleshooting_says(
    case: str, emulator: Emulator, folder: Path, no_waiting: None
) -> None:
    raised, inject, then = SAME_KEY[case]
    async with aw.Client(emulator.provider("picwish"), store=aw.SQLiteStore("jobs.db")) as client:
        inject(emulator)
        with pytest.raises(raised):
            await client.remove("photo.jpg", key="order-4711", deadline=1)
        emulator.picwish.credits, emulator.picwish.processing = 100, 0.0
        if then is None:
            assert await (await client.remove("photo.jpg", key="order-4711")).read()
        else:
            with pytest.raises(then):
                await client.remove("photo.jpg", key="order-4711")
    assert emulator.picwish.charged == 1
