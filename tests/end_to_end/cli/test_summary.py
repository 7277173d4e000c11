"""What a run says at its beginning and at its end: counts of each kind, reasons in the order of the inputs, cures."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aiowatermark.emulator import Emulator, Fault
from tests.support.cli import Cli
from tests.support.images import make_jpeg
from tests.support.terminal import TerminalSession

SYNC = ("--provider", "gptge", "--option", "sync=true")


@pytest.mark.slow
async def test_reasons_come_first_and_then_what_helps_which_of_them(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.failed(), "gptge")
    await cli("remove", "one.jpg", *to_emulator, *SYNC)
    emulator.inject(Fault.status(429), "gptge", "submit", times=None)
    command = ("remove", *photos, "none.jpg", *to_emulator, *SYNC, "--jobs", "1", "--deadline", "1")
    finished = await cli(*command)
    assert finished.code == 1
    all_lines = finished.out.splitlines()
    (start,) = [index for index, line in enumerate(all_lines) if line.startswith("0 done, 3 failed, 1 refused in ")]
    lines = all_lines[start:]
    assert [line.split(":")[0] for line in lines[1:5]] == ["  one.jpg", "  two.JPEG", "  three.jpg", "  none.jpg"]
    assert lines[1] == "  one.jpg: gpt.ge could not do it and gives no reason"
    assert lines[5] == "1 failed at gpt.ge and not submitted again: one.jpg"
    assert lines[-2].startswith("The same command tries 2 of these (two.JPEG, three.jpg) again; ")
    assert lines[-1].startswith("  aiowatermark remove one.jpg two.JPEG three.jpg none.jpg ")


async def test_the_same_command_is_not_offered_for_what_it_does_not_help(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.failed(state=-7), "gptge", times=None)
    finished = await cli("remove", *photos, "none.jpg", *to_emulator, *SYNC)
    assert "The same command tries" not in finished.out
    assert "gpt.ge could not do it: " in finished.out


async def test_lists_have_the_order_of_the_inputs_whichever_job_ends_first(cli: Cli, tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(8)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(make_jpeg(padding=number))
    async with Emulator(restore=False, processing=lambda _: 0.0) as emulator:
        cli.use_keys_of(emulator)
        emulator.inject(Fault.dropped_after(), "gptge", "submit", times=None)
        arguments = ("--base-url", emulator.base_url, "-o", "clean", "--report", "report.html")
        finished = await cli("remove", *reversed(names), *arguments, *SYNC)
    listed = [line.split()[0] for line in finished.out.splitlines() if "  key content-" in line]
    assert listed == names[::-1]
    page = (tmp_path / "report.html").read_text()
    places = [page.index(f">{name}</h2>") for name in reversed(names)]
    assert places == sorted(places)


async def test_the_report_shows_what_is_not_done_first(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path
) -> None:
    assert (await cli("remove", *photos, *to_emulator, *SYNC)).code == 0
    await cli("remove", *photos, "none.jpg", *to_emulator, *SYNC, "--report", "report.html")
    page = (tmp_path / "report.html").read_text()
    places = [page.index(f">{name}</h2>") for name in ("none.jpg", *photos)]
    assert places == sorted(places)


async def test_the_first_run_says_how_many_files_go_where_and_what_they_cost(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("not an image")
    files = (*photos, "text.jpg")
    priced = await cli("remove", *files, *to_emulator, "--provider", "dewatermark")
    assert priced.out.splitlines()[0] == "3 new at Dewatermark, up to 3 credits (1 for an image), 1 refused"
    unpriced = await cli("remove", *files, *to_emulator[:2], "-o", "other", *SYNC)
    assert unpriced.out.splitlines()[0] == "3 new at gpt.ge, 1 refused"
    nothing = await cli("remove", "text.jpg", *to_emulator[:2], "-o", "third", *SYNC)
    assert nothing.out.splitlines()[0] == "1 refused"


async def test_what_is_left_out_of_a_folder_is_named(cli: Cli, to_emulator: list[str], tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(make_jpeg())
    for name in ("1.txt", "2.txt", "3.txt", "4\x1b.txt"):
        (tmp_path / "photos" / name).touch()
    finished = await cli("remove", "-r", "photos", *to_emulator, *SYNC, "--dry-run")
    named = "photos/1.txt, photos/2.txt, photos/3.txt and 1 more"
    assert f"Left out: 4 files without the suffix of an image or a video ({named})\n" in finished.out


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--json",), ()], ids=["json", "bar"])
async def test_after_ctrl_c_the_terminal_begins_a_new_line_and_a_second_one_ends_at_once(
    cli: Cli, photos: list[str], options: tuple[str, ...]
) -> None:
    async with Emulator(restore=False, processing=60) as emulator:
        cli.use_keys_of(emulator)
        emulator.inject(Fault.stalled(60.0, after_work=True), "gptge", "submit")
        session = await TerminalSession.start(
            *("remove", photos[0], "--base-url", emulator.base_url, "-o", "clean", "--provider", "gptge", *options),
            columns=100,
            folder=cli.folder,
            variables=cli.env,
        )
        try:
            await session.wait_for("1 new at gpt.ge")
            while not emulator.tasks:
                await session._read()
            session.press_ctrl_c()
            await session.wait_for("Stopping: ")
            session.press_ctrl_c()
            async with asyncio.timeout(15):  # the answer to what was sent would be awaited for 20 s
                screen = await session.finish()
        finally:
            await session.close()
    lines = screen.splitlines()
    assert any(line.startswith("Stopping: ") for line in lines), screen
    assert any(line.startswith("Stopped: ") for line in lines), screen
