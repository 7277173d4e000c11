"""The pages of docs/start and docs/how-to do what they show, on the emulator; troubleshooting knows all errors.

Pages with shell blocks are followed as a reader would; the fragments of the others run in one namespace.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import field, frozen

import aiowatermark as aw
from aiowatermark import errors
from aiowatermark.emulator import Emulator, pictures
from tests.support.certificates import server_context
from tests.support.documents import DOCUMENTS, read_blocks, run_blocks
from tests.support.guides import Block, matches, open_session, read_page
from tests.support.http_server import free_port
from tests.support.processes import REPOSITORY
from tests.support.redis_server import RedisServer
from tests.support.videos import make_mp4

DOCS = REPOSITORY / "docs"
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
    """A result that nobody took, and a job in doubt."""
    async with aw.Client(provider, store=aw.SQLiteStore("jobs.db")) as client:
        await client.remove("photo.jpg", key="finished")
        emulator.gptge.drop_answer()
        with pytest.raises(aw.SubmissionInDoubt):
            await client.submit("photo.jpg", key="doubt")


@frozen
class Fragments:
    """How the Python blocks of a page are run: with this provider, after `prepare`, with texts replaced.

    `charged` is what the provider has charged then, `printed` a part of what was printed.
    """

    charged: int
    provider: str = "gptge"
    printed: str = ""
    saved: tuple[str, ...] = ()
    replaced: Mapping[str, str] = field(factory=dict)
    prepare: Prepare | None = None


FRAGMENTS = {
    "how-to/after-a-crash.md": Fragments(
        2, printed="look at the account: doubt", saved=("finished.jpg",), prepare=leave_jobs_behind
    ),
    "how-to/batch.md": Fragments(3, saved=("clean/1.jpg", "clean/3.jpg")),
    "how-to/cost-control.md": Fragments(3, "picwish", "credits for 3 jobs; 0 in doubt, 0 not paid again"),
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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    logo = pictures.sample_mark()
    _, mask = pictures.stamp(pictures.sample_photo(), logo)
    server_context(tmp_path)
    (tmp_path / "server.pem").rename("company-ca.pem")
    (tmp_path / "clean").mkdir()
    (tmp_path / "mask.png").write_bytes(mask)
    (tmp_path / "brush.png").write_bytes(mask)
    (tmp_path / "photo.jpg").write_bytes(pictures.sample_photo())
    (tmp_path / "clip.mp4").write_bytes(make_mp4(100_000))
    for number in (1, 2, 3):
        (tmp_path / f"{number}.jpg").write_bytes(pictures.sample_photo(seed=number))
    (tmp_path / "orders.csv").write_text("id,photo\n1,1.jpg\n2,2.jpg\n3,3.jpg\n")
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
    assert expected.printed in capsys.readouterr().out
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
