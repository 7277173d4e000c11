"""`aiowatermark remove`, `resume` and `credits`, each in a process of its own, against the emulator in this one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aiowatermark.emulator import EmulatedTask, Emulator, Fault

if TYPE_CHECKING:
    from .conftest import Cli

SYNC = ("--provider", "gptge", "--option", "sync=true")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_every_file_comes_back_under_a_name_of_its_own(
    cli: Cli, at: list[str], photos: list[str], emulator: Emulator, tmp_path: Path
) -> None:
    ended = await cli("remove", *photos, *at, *SYNC)
    assert ended.code == 0, ended.err
    assert names(tmp_path / "clean") == ["one-clean.jpg", "three-clean.jpg", "two-clean.JPEG"]
    assert (tmp_path / "clean/one-clean.jpg").read_bytes() == (tmp_path / "one.jpg").read_bytes()
    assert "3 done, 0 failed" in ended.out
    assert emulator.charged["gptge"] == 3


async def test_nothing_is_overwritten(cli: Cli, at: list[str], photos: list[str], tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean/one-clean.jpg").write_text("mine")
    assert (await cli("remove", "one.jpg", *at, *SYNC)).code == 0
    assert (tmp_path / "clean/one-clean.jpg").read_text() == "mine"
    assert (tmp_path / "clean/one-clean-2.jpg").read_bytes() == (tmp_path / "one.jpg").read_bytes()


async def test_a_file_given_twice_is_paid_once(cli: Cli, at: list[str], photos: list[str], emulator: Emulator) -> None:
    assert (await cli("remove", "one.jpg", "one.jpg", *at, *SYNC)).code == 0
    assert emulator.charged["gptge"] == 1


async def test_bad_files_fail_on_their_own_and_are_listed(
    cli: Cli, at: list[str], photos: list[str], emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no picture at all")
    (tmp_path / "folder").mkdir()
    bad = ["none.jpg", "empty.jpg", "text.jpg", "folder"]
    ended = await cli("remove", *bad, *photos, *at, *SYNC)
    assert ended.code == 1
    summary = ended.out.partition("3 done, 4 failed")[2]
    assert all(f"  {name}: " in summary for name in bad)
    assert len(names(tmp_path / "clean")) == 3
    assert emulator.charged["gptge"] == 3
    assert "Traceback" not in ended.text


async def test_a_job_the_provider_fails_is_one_failure(
    cli: Cli, at: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.failed(), "gptge")
    ended = await cli("remove", *photos, *at, *SYNC)
    assert ended.code == 1
    assert "2 done, 1 failed" in ended.out


async def test_json_gives_a_line_for_each_item_and_nothing_else_on_stdout(
    cli: Cli, at: list[str], photos: list[str]
) -> None:
    ended = await cli("remove", *photos, "none.jpg", *at, *SYNC, "--json")
    assert ended.code == 1
    lines = {line["media"]: line for line in ended.lines}
    assert set(lines) == {*photos, "none.jpg"}
    assert all(set(line) == {"media", "output", "status", "error", "key", "token", "seconds"} for line in ended.lines)
    one, none = lines["one.jpg"], lines["none.jpg"]
    assert (one["status"], one["output"], one["error"]) == ("done", "clean/one-clean.jpg", None)
    assert one["key"].startswith("one-")
    assert one["token"].startswith("aw1.")
    assert (none["status"], none["output"], none["token"]) == ("failed", None, None)
    assert "none.jpg" in none["error"]
    assert "3 done, 1 failed" in ended.err


async def test_paths_come_from_stdin_too(cli: Cli, at: list[str], photos: list[str], tmp_path: Path) -> None:
    ended = await cli("remove", "-", *at, *SYNC, stdin="one.jpg\n\nthree.jpg\n")
    assert ended.code == 0, ended.err
    assert names(tmp_path / "clean") == ["one-clean.jpg", "three-clean.jpg"]


async def test_stdin_is_read_no_faster_than_jobs_end(
    cli: Cli, at: list[str], photos: list[str], tmp_path: Path
) -> None:
    running = await cli.start("remove", "-", *at, *SYNC, "--jobs", "1")
    assert running.process.stdin
    running.process.stdin.write(b"one.jpg\n")
    assert "one.jpg -> clean/one-clean.jpg" in await running.says("done")
    ended = await running.ended("three.jpg\n")
    assert "2 done" in ended.out


async def test_ctrl_c_does_not_wait_for_a_silent_stdin(cli: Cli, at: list[str], photos: list[str]) -> None:
    running = await cli.start("remove", "-", *at, *SYNC)
    assert running.process.stdin
    running.process.stdin.write(b"one.jpg\n")
    await running.says("done")
    running.process.send_signal(signal.SIGINT)
    assert "Stopped: 1 done" in await running.says("Stopped")
    async with asyncio.timeout(10):
        assert await running.process.wait() == 1


async def test_links_go_to_those_who_take_links(
    cli: Cli, at: list[str], emulator: Emulator, picture: Callable[..., bytes], tmp_path: Path
) -> None:
    link = emulator.host(picture(), "a photo.jpg") + "?signature=../../x"
    ended = await cli("remove", link, *at, *SYNC)
    assert ended.code == 0, ended.text
    assert names(tmp_path / "clean") == ["a_photo-clean.jpg"]


async def test_what_a_provider_cannot_do_is_said_for_each_file(cli: Cli, at: list[str], photos: list[str]) -> None:
    ended = await cli("remove", "one.jpg", "--mask", "one.jpg", *at, "--provider", "photoeraser")
    assert ended.code == 1
    assert "Photo Eraser takes links only" in ended.out


async def test_the_result_is_named_after_what_is_in_it(
    cli: Cli, at: list[str], picture: Callable[..., bytes], tmp_path: Path
) -> None:
    (tmp_path / "really-a-jpeg.png").write_bytes(picture())
    assert (await cli("remove", "really-a-jpeg.png", *at, *SYNC)).code == 0
    assert names(tmp_path / "clean") == ["really-a-jpeg-clean.jpg"]


async def test_a_submission_in_doubt_shows_its_token_and_is_not_sent_again(
    cli: Cli, at: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.dropped_after(), "gptge", "submit")
    ended = await cli("remove", "one.jpg", *at, *SYNC)
    assert ended.code == 1
    assert "look at your account before you send it again; its token: aw1." in ended.out
    assert emulator.charged["gptge"] == 1


async def test_a_job_that_is_too_late_can_be_resumed(cli: Cli, photos: list[str]) -> None:
    async with Emulator(restore=False, processing=60) as emulator:
        cli.has_keys_of(emulator)
        at = ("--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean")
        ended = await cli("remove", "one.jpg", *at, "--deadline", "0.5")
    assert ended.code == 1
    assert "0 done, 1 failed" in ended.out
    assert "aiowatermark resume --provider gptge -o clean --base-url" in ended.out
    assert ended.out.split()[-1].startswith("aw1.")


async def test_names_that_would_steer_a_terminal_are_shown_without(cli: Cli, at: list[str]) -> None:
    ended = await cli("remove", "evil\x1b]0;title\x07.jpg", *at, *SYNC)
    assert ended.code == 1
    assert "\x1b" not in ended.text


async def test_after_ctrl_c_the_jobs_are_resumed_and_paid_once(cli: Cli, photos: list[str], tmp_path: Path) -> None:
    submitted = asyncio.Event()

    def processing(_: EmulatedTask) -> float:
        if len(emulator.tasks) == 2:
            submitted.set()
        return 2.0

    async with Emulator(restore=False, processing=processing) as emulator:
        cli.has_keys_of(emulator)
        at = ("--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean")
        running = await cli.start("remove", *photos, *at, "--jobs", "2")
        async with asyncio.timeout(20):
            await submitted.wait()
        running.process.send_signal(signal.SIGINT)
        stopped = await running.ended()
        assert stopped.code == 1
        assert "Submitted and not finished, 2; they go on at gpt.ge" in stopped.out
        assert "Not submitted: 1" in stopped.out
        assert "Traceback" not in stopped.text
        (command,) = [line for line in stopped.out.splitlines() if "aiowatermark resume" in line]
        assert command.split()[:8] == ["aiowatermark", "resume", "--provider", "gptge", *at[4:], "--base-url", at[3]]
        resumed = await cli(*command.split()[1:])
        assert resumed.code == 0, resumed.text
        assert emulator.charged["gptge"] == 2
    assert names(tmp_path / "clean") == ["one-clean.jpg", "two-clean.jpg"]


async def test_the_second_ctrl_c_leaves_at_once_and_forgets_no_money(cli: Cli, photos: list[str]) -> None:
    submitted = asyncio.Event()

    def processing(_: EmulatedTask) -> float:
        submitted.set()
        return 60.0

    async with Emulator(restore=False, processing=processing) as emulator:
        cli.has_keys_of(emulator)
        emulator.inject(Fault.stalled(60.0, after_work=True), "gptge", "submit")
        at = ("--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean")
        running = await cli.start("remove", "one.jpg", "two.JPEG", *at, "--jobs", "1")
        async with asyncio.timeout(20):
            await submitted.wait()
            running.process.send_signal(signal.SIGINT)
            assert running.process.stderr
            assert b"Stopping" in await running.process.stderr.readline()
            running.process.send_signal(signal.SIGINT)
            ended = await running.ended()
        assert emulator.charged["gptge"] == 1
    assert ended.code == 1
    assert "one.jpg\n    it was being submitted: look at your account" in ended.out
    assert "Not submitted: 1" in ended.out


async def test_a_token_that_is_none_fails_on_its_own(cli: Cli, at: list[str]) -> None:
    ended = await cli("resume", "aw1.nonsense", *at, "--provider", "gptge")
    assert ended.code == 1
    assert "no token of a job" in ended.out


async def test_credits_are_shown(cli: Cli, at: list[str]) -> None:
    ended = await cli("credits", *at[:2], "--provider", "kaze")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("Kaze: 1000 credits available")


async def test_credits_nobody_documents_are_refused_with_a_sentence(cli: Cli, at: list[str]) -> None:
    ended = await cli("credits", *at[:2], "--provider", "picwish")
    assert ended.code == 2
    assert "PicWish documents no call for its credits" in ended.err


@pytest.mark.parametrize("command", [("remove", "one.jpg", "-o", "clean"), ("credits",)])
async def test_without_a_key_the_variable_is_named_and_the_emulator_offered(
    cli: Cli, command: tuple[str, ...], tmp_path: Path
) -> None:
    ended = await cli(*command, "--provider", "photoeraser")
    assert ended.code == 2
    assert "PHOTOERASER_APP_KEY and PHOTOERASER_APP_SECRET are not set" in ended.err
    assert "aiowatermark demo" in ended.err
    assert "aiowatermark emulator" in ended.err
    assert not (tmp_path / "clean").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--provider", "nobody"), "'nobody' is not one of"),
        (("--provider", "gptge", "--option", "sync"), "write NAME=VALUE"),
        (("--provider", "gptge", "--option", "sync=perhaps"), "sync is true or false"),
        (("--provider", "gptge", "--option", "size=3"), "gpt.ge has no option size"),
        (("--provider", "photoeraser", "--option", "priority=10"), "priority is a whole number from 0 to 9"),
        (("--provider", "gptge", "--base-url", "http://example.com"), "would send the API key in clear text"),
        (("--provider", "kaze", "--mask", "none.png"), "none.png cannot be read"),
        (("--provider", "gptge", "--jobs", "0"), "0 is not in the range"),
        (("--provider", "gptge", "--deadline", "0"), "0.0 is not in the range"),
    ],
)
async def test_what_cannot_be_right_starts_nothing(  # noqa: PLR0917 - fixtures
    cli: Cli, at: list[str], photos: list[str], emulator: Emulator, arguments: tuple[str, ...], sentence: str
) -> None:
    ended = await cli("remove", "one.jpg", *at, *arguments)
    assert ended.code == 2
    assert sentence in " ".join(ended.err.split())
    assert not emulator.tasks


async def test_a_folder_that_cannot_be_written_starts_nothing(
    cli: Cli, at: list[str], photos: list[str], emulator: Emulator
) -> None:
    ended = await cli("remove", "one.jpg", *at[:2], "-o", "two.JPEG/clean", *SYNC)
    assert ended.code == 2
    assert "nothing can be written to two.JPEG/clean" in ended.err
    assert not emulator.tasks
