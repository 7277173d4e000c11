"""`-v` shows what happens on stderr; `jobs --stats` shows what a store holds."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from attrs import evolve

import aiowatermark as aw
from aiowatermark.jobs import Record, Snapshot, Status
from tests.support.cli import Cli
from tests.support.log_search import CANARY


@pytest.mark.parametrize("position", ["before the command", "after the command"])
async def test_v_shows_one_line_per_change_of_a_job_on_stderr(
    cli: Cli, to_emulator: list[str], photos: list[str], position: str
) -> None:
    command = ["remove", photos[0], "--provider", "kaze", *to_emulator]
    done = await cli(*(["-v", *command] if position == "before the command" else [*command, "-v"]))
    assert done.code == 0, done.text
    for change in ("submitted to kaze", "accepted by kaze", "succeeded", "were saved"):
        assert len(re.findall(rf"INFO +job .*{change}", done.err)) == 1, done.err
    assert "DEBUG" not in done.err
    assert "INFO" not in done.out


async def test_vv_shows_every_request_without_queries_and_keys(
    cli: Cli, to_emulator: list[str], photos: list[str]
) -> None:
    done = await cli("remove", photos[0], "--provider", "picwish", *to_emulator, "-vv")
    assert done.code == 0, done.text
    assert re.search(r"DEBUG +POST 127\.0\.0\.1:\d+/api/tasks/visual/external/watermark-remove: 200 in", done.err)
    assert CANARY not in done.text


async def test_nothing_of_the_log_is_shown_without_v(cli: Cli, to_emulator: list[str], photos: list[str]) -> None:
    done = await cli("remove", photos[0], "--provider", "kaze", *to_emulator)
    assert done.code == 0
    assert "INFO" not in done.text


async def fill(path: Path) -> None:
    now = time.time()
    async with aw.SQLiteStore(path) as store:
        for number in range(3):
            snapshot = Snapshot(f"t-{number}", Status.RUNNING)
            await store.open(Record(f"r{number}", "kaze", snapshot, created_at=now - 7200.0 * (number + 1), epoch=1))
        doubt = Snapshot(None, Status.IN_DOUBT, reason="no answer")
        await store.open(Record("doubt", "picwish\x1b[2J", doubt, created_at=now, epoch=1))
        opened = Record("done", "kaze", Snapshot("d", Status.RUNNING), created_at=now - 5 * 86_400.0, epoch=1)
        await store.open(opened)
        await store.put(
            evolve(opened.advance(Snapshot("d", Status.SUCCEEDED)), charged=aw.Charge(2.5, "answer"), acknowledged=True)
        )


async def test_stats_are_a_table_of_providers_and_states(cli: Cli, tmp_path: Path) -> None:
    await fill(tmp_path / "jobs.db")
    done = await cli("jobs", "--store", "jobs.db", "--stats")
    assert done.code == 0, done.text
    rows = [line.split() for line in done.out.splitlines()]
    assert ["kaze", "running", "3", "6", "h", "2", "h", "-"] in rows
    assert ["kaze", "succeeded", "1", "5", "d", "5", "d", "2.5"] in rows
    assert any(row[0].startswith("picwish") and row[1:4] == ["in", "doubt", "1"] for row in rows)
    assert "\x1b[2J" not in done.out
    assert "known of 1 of 5 jobs" in done.out


async def test_stats_as_json_are_one_object(cli: Cli, tmp_path: Path) -> None:
    await fill(tmp_path / "jobs.db")
    done = await cli("jobs", "--store", "jobs.db", "--stats", "--json")
    summary = json.loads(done.out)
    assert summary["v"] == 1
    assert summary["complete"] is True
    assert {group["state"]: group["count"] for group in summary["groups"]} == {
        "running": 3,
        "succeeded": 1,
        "in_doubt": 1,
    }
