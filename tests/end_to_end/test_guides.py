"""The pages below docs/start and docs/how-to do what they show: each is followed as a reader would, on the emulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.documents import DOCUMENTS, read_blocks
from tests.support.guides import Block, matches, open_session, read_page
from tests.support.processes import REPOSITORY

DOCS = REPOSITORY / "docs"
SESSIONS = {
    document.relative_to(DOCS).as_posix(): document
    for document in DOCUMENTS[1:]
    if any(block.mark for block in read_page(document))
}
"""Pages with a block that has a mark: they are followed in a shell. The others' fragments run in test_documentation."""


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
