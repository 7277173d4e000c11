"""The cost of a run: every charge that is known, however its job ended, and in words what is not known."""

from __future__ import annotations

import re
from pathlib import Path

from aiowatermark.emulator import Emulator, Fault
from tests.support.cli import Cli
from tests.support.images import make_jpeg

PICWISH = ("--provider", "picwish", "--option", "sync=true")


async def test_a_job_that_failed_and_cost_money_is_in_the_sum_the_line_and_the_report(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.inject(Fault.failed(), "picwish")
    command = ("remove", *photos, *to_emulator, *PICWISH, "--json")
    finished = await cli(*command, "--report", "report.html")
    assert emulator.charged["picwish"] == 3
    assert re.search(r"2 done, 1 failed in [\d.]+ s for 3 credits;", finished.err), finished.text
    assert [line["charge"] for line in finished.lines] == [{"credits": 1.0, "source": "answer"}] * 3
    assert "3 credits charged" in (tmp_path / "report.html").read_text()

    again = await cli(*command)
    assert "credit" not in again.err, "an earlier run has said it"
    assert [line["charge"] for line in again.lines] == [None] * 3


async def test_a_result_that_cannot_be_saved_is_in_the_sum(
    cli: Cli, to_emulator: list[str], emulator: Emulator, tmp_path: Path
) -> None:
    for name in ("photos/a.jpg", "photos/sub/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(make_jpeg(padding=len(name)))
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean/sub").write_text("a file in place of a folder")
    finished = await cli("remove", "-r", "photos", *to_emulator, *PICWISH, "--json")
    assert re.search(r"1 done, 0 failed, 1 not saved in [\d.]+ s for 2 credits;", finished.err), finished.text
    assert [line["charge"]["credits"] for line in finished.lines] == [1.0, 1.0]
    assert sorted(line["status"] for line in finished.lines) == ["done", "unsaved"]


async def test_the_charge_of_one_picture_under_two_names_is_told_once(
    cli: Cli, to_emulator: list[str], tmp_path: Path
) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(make_jpeg())
    finished = await cli("remove", "a.jpg", "b.jpg", *to_emulator, *PICWISH, "--json", "--report", "page.html")
    assert sorted(str(line["charge"] and line["charge"]["credits"]) for line in finished.lines) == ["1.0", "None"]
    assert "for 1 credit;" in finished.err
    assert "1 credit charged<" in (tmp_path / "page.html").read_text()


async def test_a_result_that_is_fetched_again_costs_nothing_more(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path
) -> None:
    command = ("remove", *photos, *to_emulator, *PICWISH)
    assert "for 3 credits;" in (await cli(*command)).out
    (tmp_path / "clean/one-clean.jpg").unlink()
    again = await cli(*command)
    assert "3 done (2 before), 0 failed" in again.out
    assert "credit" not in again.out
    anew = await cli(*command, "--again")
    assert "for 3 credits;" in anew.out


async def test_what_a_job_in_doubt_may_have_cost_is_said(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.dropped_after(), "picwish", "submit")
    finished = await cli("remove", *photos, *to_emulator, *PICWISH)
    assert re.search(r"in [\d.]+ s for 2 credits, plus what 1 in doubt may have cost;", finished.out), finished.text
    again = await cli("remove", *photos, *to_emulator, *PICWISH)
    assert "may have cost" not in again.out


async def test_one_image_under_two_names_is_one_charge_in_the_sum_and_the_report(
    cli: Cli, to_emulator: list[str], emulator: Emulator, tmp_path: Path
) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(make_jpeg())
    finished = await cli("remove", "a.jpg", "b.jpg", *to_emulator, *PICWISH, "--report", "report.html")
    assert emulator.charged["picwish"] == 1
    assert "2 done, 0 failed" in finished.out
    assert "for 1 credit;" in finished.out
    assert "1 credit charged" in (tmp_path / "report.html").read_text()


async def test_no_sum_is_said_where_no_charge_is_known(cli: Cli, to_emulator: list[str], photos: list[str]) -> None:
    finished = await cli("remove", photos[0], *to_emulator, "--provider", "gptge", "--option", "sync=true")
    assert "credit" not in finished.out
