"""The diagrams of the documents say what the code does: their modules, functions, layers and transitions exist."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree as ET

import pytest

from aiowatermark.jobs import INITIAL_SNAPSHOT, Record, Snapshot, Status
from docs._diagrams import diagrams
from docs._diagrams.drawing import Message
from tests.architecture.test_layers import LAYERS
from tests.support.definitions import names_by_module
from tests.support.processes import REPOSITORY

PICTURES = diagrams.draw()
MESSAGES = [message for messages in diagrams.SEQUENCES.values() for message in messages if message.module]
NAMES = names_by_module()


@pytest.mark.parametrize("name", PICTURES)
def test_the_file_of_a_diagram_is_up_to_date(name: str) -> None:
    stored = (diagrams.FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    assert stored == PICTURES[name].svg(), "write it again: python -m docs._diagrams.diagrams"


@pytest.mark.parametrize("name", PICTURES)
def test_a_diagram_has_a_title_a_description_and_text_inside_the_picture(name: str) -> None:
    root = ET.fromstring(PICTURES[name].svg())  # noqa: S314 - made here
    space = "{http://www.w3.org/2000/svg}"
    assert root.findtext(f"{space}title")
    assert len(root.findtext(f"{space}desc") or "") > 100
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for text in root.iter(f"{space}text"):
        assert 0 <= float(text.get("x", -1)) <= width
        assert 0 <= float(text.get("y", -1)) <= height


def test_every_diagram_is_shown_with_an_alternative_text() -> None:
    shown: dict[str, str] = {}
    for document in REPOSITORY.glob("docs/**/*.md"):
        images = re.findall(r"!\[([^\]]*)\]\([^)]*_diagrams/([\w-]+)\.svg\)", document.read_text())
        shown |= {name: alternative for alternative, name in images}
    assert shown.keys() == PICTURES.keys()
    assert all(len(alternative) > 20 for alternative in shown.values())


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.code)
def test_what_a_message_names_is_defined_in_its_module(message: Message) -> None:
    assert message.code in NAMES[message.module]


def test_modules_and_classes_in_notes_exist() -> None:
    for message in MESSAGES:
        for path in re.findall(r"\b[\w/]+\.py\b", message.note):
            assert path in NAMES, path
        for name in re.findall(r"\b[A-Z][a-z]+[A-Z]\w+\b", message.note):
            assert any(name in names for names in NAMES.values()), name


def layers_of_table(document: str) -> list[set[str]]:
    """Return the units of each row of the table of layers, the uppermost first."""
    rows = re.findall(r"^\| \d \| ([^|]+) \|", document, re.MULTILINE)
    return [set(re.findall(r"`(\w+)`", row)) for row in rows]


def without_main(layers: Iterable[Iterable[str]]) -> list[set[str]]:
    return [set(units) for units in layers if "__main__" not in units]


def test_the_layers_are_those_that_the_architecture_test_enforces() -> None:
    enforced = without_main(reversed(LAYERS))
    assert [set(layer.units) for layer in diagrams.LAYERS] == enforced
    assert layers_of_table((REPOSITORY / "docs/architecture.md").read_text()) == enforced


# transitions


def make_record(status: Status, *, reason: str | None = None) -> Record:
    task_id = None if status in {Status.UPLOADING, Status.IN_DOUBT} else "t"
    return Record("k", "kaze", Snapshot(task_id, status, reason=reason), owner="o", epoch=1)


def test_the_states_of_the_diagram_are_those_of_a_job() -> None:
    assert {state.name.partition(",")[0] for state in diagrams.STATES} == {status.name for status in Status}


def test_the_drawn_calls_change_a_record_as_drawn() -> None:
    uploading, pending = make_record(Status.UPLOADING), make_record(Status.IN_DOUBT)
    doubted = make_record(Status.IN_DOUBT, reason="connection lost")
    failed = make_record(Status.FAILED)
    changes: dict[tuple[str, str], Status] = {
        ("commit", "the paid request follows"): uploading.commit(0.0).snapshot.status,
        ("withdraw", "the attempt had no effect"): pending.withdraw("refused").snapshot.status,
        ("advance", "accepted"): pending.advance(Snapshot("t", Status.QUEUED)).snapshot.status,
        ("advance", "no usable answer came"): pending.advance(doubted.snapshot).snapshot.status,
        ("advance", "a callback, or settle(task_id=…)"): doubted.advance(Snapshot("t", Status.QUEUED)).snapshot.status,
        ("advance", "settle(paid=True)"): doubted.advance(Snapshot(None, Status.FAILED)).snapshot.status,
        ("take_over", "settle(paid=False)"): doubted.take_over("", 2, 0.0, None, "").snapshot.status,
        ("take_over", "again=True: a new charge"): failed.take_over("o", 2, 0.0, None, "").snapshot.status,
    }
    drawn = {(each.call, each.meaning) for each in diagrams.TRANSITIONS if each.meaning}
    # a job starts, and is deleted, outside its record
    assert drawn - changes.keys() == {
        ("start_job", "a video"),
        ("start_job", "an image"),
        ("delete", "the key is free"),
        ("delete", "refused: the key is free"),
    }
    ends = ["IN_DOUBT", "UPLOADING", "QUEUED", "IN_DOUBT", "QUEUED", "FAILED", "UPLOADING", "UPLOADING"]
    assert [status.name for status in changes.values()] == ends
    assert pending.answer_pending
    assert not doubted.answer_pending
    assert INITIAL_SNAPSHOT.status is Status.IN_DOUBT


def test_no_job_goes_back_and_none_leaves_an_end() -> None:
    order = [Status.UPLOADING, Status.IN_DOUBT, Status.QUEUED, Status.RUNNING]
    for number, later in enumerate(order):
        for earlier in order[:number]:
            record = make_record(later)
            assert record.advance(Snapshot(record.snapshot.task_id, earlier)) is record
    for end in (Status.SUCCEEDED, Status.FAILED):
        record = make_record(end)
        assert all(record.advance(Snapshot("t", status)) is record for status in Status)
