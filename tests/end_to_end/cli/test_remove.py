"""The commands remove, resume and credits: results, failures, Ctrl-C and options that are not valid."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from aiowatermark.emulator import EmulatedTask, Emulator, Fault
from tests.support.cli import Cli, printed_commands
from tests.support.files import list_names
from tests.support.images import make_jpeg, make_mask

SYNC = ("--provider", "gptge", "--option", "sync=true")
JSON_FIELDS = {
    *("v", "media", "output", "status", "saved_before", "error"),
    *("key", "token", "provider", "seconds", "charge", "note"),
}


async def test_each_result_is_saved_under_the_name_of_its_file(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, tmp_path: Path
) -> None:
    finished = await cli("remove", *photos, *to_emulator, *SYNC)
    assert finished.code == 0, finished.err
    assert list_names(tmp_path / "clean", hidden=False) == ["one-clean.jpg", "three-clean.jpg", "two-clean.JPEG"]
    assert (tmp_path / "clean/one-clean.jpg").read_bytes() == (tmp_path / "one.jpg").read_bytes()
    assert "3 done, 0 failed" in finished.out
    assert emulator.charged["gptge"] == 3


async def test_a_result_that_equals_its_input_is_called_unchanged(
    cli: Cli, to_emulator: list[str], photos: list[str]
) -> None:
    finished = await cli("remove", "one.jpg", *to_emulator, *SYNC)
    assert "(unchanged: it equals the input)" in finished.out + finished.err


async def test_an_existing_file_is_not_overwritten(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean/one-clean.jpg").write_text("mine")
    assert (await cli("remove", "one.jpg", *to_emulator, *SYNC)).code == 0
    assert (tmp_path / "clean/one-clean.jpg").read_text() == "mine"
    assert (tmp_path / "clean/one-clean-2.jpg").read_bytes() == (tmp_path / "one.jpg").read_bytes()


async def test_a_file_given_twice_is_paid_once(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    assert (await cli("remove", "one.jpg", "one.jpg", *to_emulator, *SYNC)).code == 0
    assert emulator.charged["gptge"] == 1


async def test_files_that_are_not_valid_are_listed_and_do_not_stop_the_others(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "folder").mkdir()
    invalid = ["none.jpg", "empty.jpg", "text.jpg", "folder"]
    finished = await cli("remove", *invalid, *photos, *to_emulator, *SYNC)
    assert finished.code == 1
    summary = finished.out.partition("3 done, 0 failed, 4 refused")[2]
    assert all(f"  {name}: " in summary for name in invalid)
    assert len(list_names(tmp_path / "clean", hidden=False)) == 3
    assert emulator.charged["gptge"] == 3
    assert "Traceback" not in finished.text


async def test_a_job_that_fails_at_the_provider_does_not_stop_the_others(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.failed(), "gptge")
    finished = await cli("remove", *photos, *to_emulator, *SYNC)
    assert finished.code == 1
    assert "2 done, 1 failed" in finished.out


async def test_json_prints_one_line_for_each_item_and_nothing_else_on_stdout(
    cli: Cli, to_emulator: list[str], photos: list[str]
) -> None:
    finished = await cli("remove", *photos, "none.jpg", *to_emulator, *SYNC, "--json")
    assert finished.code == 1
    lines = {line["media"]: line for line in finished.lines}
    assert set(lines) == {*photos, "none.jpg"}
    assert all(set(line) == JSON_FIELDS and line["v"] == 1 for line in finished.lines)
    done, failed = lines["one.jpg"], lines["none.jpg"]
    assert (done["status"], done["output"], done["error"]) == ("done", "clean/one-clean.jpg", None)
    assert done["key"].startswith("content-")
    assert (done["provider"], done["saved_before"], done["charge"]) == ("gptge", False, None)
    assert done["token"].startswith("aw2.")
    assert (failed["status"], failed["output"], failed["token"]) == ("refused", None, None)
    assert "none.jpg" in failed["error"]
    assert "3 done, 0 failed, 1 refused" in finished.err


async def test_paths_are_read_from_stdin(cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path) -> None:
    finished = await cli("remove", "-", *to_emulator, *SYNC, stdin="one.jpg\n\nthree.jpg\n")
    assert finished.code == 0, finished.err
    assert list_names(tmp_path / "clean", hidden=False) == ["one-clean.jpg", "three-clean.jpg"]


async def test_stdin_is_read_no_faster_than_jobs_end(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path
) -> None:
    running = await cli.start("remove", "-", *to_emulator, *SYNC, "--jobs", "1")
    running.write_line("one.jpg")
    assert "one.jpg -> clean/one-clean.jpg" in await running.wait_for_output("done")
    finished = await running.finish("three.jpg\n")
    assert "2 done" in finished.out


async def test_ctrl_c_does_not_wait_for_a_silent_stdin(cli: Cli, to_emulator: list[str], photos: list[str]) -> None:
    running = await cli.start("remove", "-", *to_emulator, *SYNC)
    running.write_line("one.jpg")
    await running.wait_for_output("done")
    running.process.send_signal(signal.SIGINT)
    assert "Stopped: 1 done" in await running.wait_for_output("Stopped")
    async with asyncio.timeout(10):
        assert await running.process.wait() == 1


async def test_a_url_is_passed_to_a_provider_that_accepts_urls(
    cli: Cli, to_emulator: list[str], emulator: Emulator, tmp_path: Path
) -> None:
    url = emulator.host(make_jpeg(), "a photo.jpg") + "?signature=../../x"
    finished = await cli("remove", url, *to_emulator, *SYNC)
    assert finished.code == 0, finished.text
    assert list_names(tmp_path / "clean", hidden=False) == ["a_photo-clean.jpg"]


async def test_a_file_that_the_provider_does_not_accept_fails_with_the_reason(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "mask.png").write_bytes(make_mask())
    finished = await cli("remove", "one.jpg", "--mask", "mask.png", *to_emulator, "--provider", "photoeraser")
    assert finished.code == 1
    assert "Photo Eraser accepts URLs only" in finished.out
    assert "To send files, give --callback-url" in finished.err


async def test_the_suffix_of_a_result_fits_its_content(cli: Cli, to_emulator: list[str], tmp_path: Path) -> None:
    (tmp_path / "really-a-jpeg.png").write_bytes(make_jpeg())
    assert (await cli("remove", "really-a-jpeg.png", *to_emulator, *SYNC)).code == 0
    assert list_names(tmp_path / "clean", hidden=False) == ["really-a-jpeg-clean.jpg"]


async def test_without_a_store_a_submission_in_doubt_shows_its_token(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.dropped_after(), "gptge", "submit")
    finished = await cli("remove", "one.jpg", *to_emulator, *SYNC, "--no-store")
    assert finished.code == 1
    assert "one.jpg  its token: aw2." in finished.out
    assert "Check your account at gpt.ge first: the same command sends them again." in finished.out
    assert emulator.charged["gptge"] == 1


async def test_without_a_store_a_job_that_exceeds_its_deadline_can_be_resumed(cli: Cli, photos: list[str]) -> None:
    async with Emulator(restore=False, processing=60) as emulator:
        cli.use_keys_of(emulator)
        to_emulator = ("--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean")
        finished = await cli("remove", "one.jpg", *to_emulator, "--deadline", "0.5", "--no-store")
    assert finished.code == 1
    assert "0 done, 0 failed, 1 open" in finished.out
    assert "1 still at gpt.ge, paid or to be paid: one.jpg" in finished.out
    assert "aiowatermark resume --provider gptge -o clean --base-url" in finished.out
    assert finished.out.split()[-1].startswith("aw2.")


async def test_control_characters_in_file_names_are_not_printed(cli: Cli, to_emulator: list[str]) -> None:
    finished = await cli("remove", "evil\x1b]0;title\x07.jpg", *to_emulator, *SYNC)
    assert finished.code == 1
    assert "\x1b" not in finished.text


@pytest.mark.slow
async def test_without_a_store_the_jobs_of_a_stopped_run_are_resumed_by_their_tokens(
    cli: Cli, photos: list[str], tmp_path: Path
) -> None:
    submitted = asyncio.Event()

    def processing(_: EmulatedTask) -> float:
        if len(emulator.tasks) == 2:
            submitted.set()
        return 2.0

    async with Emulator(restore=False, processing=processing) as emulator:
        cli.use_keys_of(emulator)
        to_emulator = ("--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean")
        running = await cli.start("remove", *photos, *to_emulator, "--jobs", "2", "--no-store")
        async with asyncio.timeout(20):
            await submitted.wait()
        running.process.send_signal(signal.SIGINT)
        stopped = await running.finish()
        assert stopped.code == 1
        assert "Stopped: 0 done, 2 open, 1 unsent\n" in stopped.out
        assert "Traceback" not in stopped.text
        (command,) = [line for line in stopped.out.splitlines() if "aiowatermark resume" in line]
        assert command.split()[:8] == [
            "aiowatermark",
            "resume",
            "--provider",
            "gptge",
            *to_emulator[4:],
            "--base-url",
            to_emulator[3],
        ]
        resumed = await cli(*command.split()[1:])
        assert resumed.code == 0, resumed.text
        assert emulator.charged["gptge"] == 2
    assert list_names(tmp_path / "clean") == ["one-clean.jpg", "two-clean.JPEG"]


@pytest.mark.slow
async def test_a_second_ctrl_c_exits_immediately_and_lists_what_may_have_been_paid(cli: Cli, photos: list[str]) -> None:
    submitted = asyncio.Event()

    def processing(_: EmulatedTask) -> float:
        submitted.set()
        return 60.0

    async with Emulator(restore=False, processing=processing) as emulator:
        cli.use_keys_of(emulator)
        emulator.inject(Fault.stalled(60.0, after_work=True), "gptge", "submit")
        to_emulator = ("--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean")
        running = await cli.start("remove", "one.jpg", "two.JPEG", *to_emulator, "--jobs", "1")
        async with asyncio.timeout(60):  # a guard: without the second signal it would take as long as the stall
            await submitted.wait()
            running.process.send_signal(signal.SIGINT)
            assert running.process.stderr
            assert b"Stopping" in await running.process.stderr.readline()
            running.process.send_signal(signal.SIGINT)
            finished = await running.finish()
        assert emulator.charged["gptge"] == 1
    assert finished.code == 1
    assert "Stopped: 0 done, 1 open, 1 unsent; the same command continues" in finished.out
    assert (
        "1 still being submitted, so they may have been paid; check your account:\n  one.jpg  key content-"
        in finished.out
    )
    unpaid, asks, paid = printed_commands(finished.out)
    assert (unpaid.split()[-1], paid.split()[-1]) == ("--unpaid", "--paid")
    assert asks.endswith(f"--task-id ID --base-url {emulator.base_url}")
    settled = await cli.in_shell(unpaid)
    assert settled.code == 0, settled.text


async def test_a_token_that_is_not_valid_is_a_failure_of_its_item(cli: Cli, to_emulator: list[str]) -> None:
    finished = await cli("resume", "aw1.nonsense", *to_emulator, "--provider", "gptge")
    assert finished.code == 1
    assert "  aw1.nonsense: 'aw1.nonsense' is not a whole token: give it unchanged, as it was printed\n" in finished.out


async def test_the_credits_of_an_account_are_printed(cli: Cli, to_emulator: list[str]) -> None:
    finished = await cli("credits", *to_emulator[:2], "--provider", "kaze")
    assert finished.code == 0, finished.err
    assert finished.out.startswith("Kaze: 1000 credits available")


async def test_credits_of_a_provider_without_a_call_for_them_are_refused(cli: Cli, to_emulator: list[str]) -> None:
    finished = await cli("credits", *to_emulator[:2], "--provider", "gptge")
    assert finished.code == 2
    assert "gpt.ge documents no call for its credits" in finished.err


@pytest.mark.parametrize("command", [("remove", "one.jpg", "-o", "clean"), ("credits",)])
async def test_a_missing_key_is_reported_with_its_variable_and_with_the_emulator(
    cli: Cli, command: tuple[str, ...], tmp_path: Path
) -> None:
    finished = await cli(*command, "--provider", "photoeraser")
    assert finished.code == 2
    assert "PHOTOERASER_APP_KEY and PHOTOERASER_APP_SECRET are not set" in finished.err
    assert "aiowatermark demo" in finished.err
    assert "aiowatermark emulator" in finished.err
    assert not (tmp_path / "clean").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--provider", "unknown"), "'unknown' is not one of"),
        (("--provider", "gptge", "--option", "sync"), "--option must be NAME=VALUE, not 'sync'"),
        (("--provider", "gptge", "--option", "sync=perhaps"), "--option sync must be true or false, not 'perhaps'"),
        (("--provider", "gptge", "--option", "size=3"), "gpt.ge has no option size"),
        (("--provider", "photoeraser", "--option", "priority=10"), "priority must be a whole number from 0 to 9"),
        (("--provider", "gptge", "--base-url", "http://example.com"), "would send the API key in clear text"),
        (("--provider", "kaze", "--mask", "none.png"), "none.png cannot be read"),
        (("--provider", "gptge", "--jobs", "0"), "0 is not in the range"),
        (("--provider", "gptge", "--deadline", "0"), "0.0 is not in the range"),
    ],
)
async def test_arguments_that_are_not_valid_start_nothing(  # noqa: PLR0917 - fixtures
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, arguments: tuple[str, ...], message: str
) -> None:
    finished = await cli("remove", "one.jpg", *to_emulator, *arguments)
    assert finished.code == 2
    assert message in " ".join(finished.err.split())
    assert not emulator.tasks


async def test_a_folder_that_cannot_be_written_starts_nothing(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    finished = await cli("remove", "one.jpg", *to_emulator[:2], "-o", "two.JPEG/clean", *SYNC)
    assert finished.code == 2
    assert "cannot write to the folder two.JPEG/clean" in finished.err
    assert not emulator.tasks


async def test_a_name_that_the_terminal_cannot_show_does_not_end_the_batch(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, tmp_path: Path
) -> None:
    hostile = (b"caf\xe9.jpg", "照片.jpg".encode(), b"tab\tand\nline.jpg", b"a" * 251 + b".jpg")
    names = [os.fsdecode(name) for name in hostile]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(make_jpeg(padding=100 + number))
    cli.env["PYTHONIOENCODING"] = "ascii:strict"
    finished = await cli("remove", *names, os.fsdecode(b"no\xe9.jpg"), *photos, *to_emulator, *SYNC)
    assert "Traceback" not in finished.text
    assert "7 done, 0 failed, 1 refused" in finished.out
    assert emulator.charged["gptge"] == len(list_names(tmp_path / "clean", hidden=False)) == 7


async def test_a_folder_without_images_is_named(cli: Cli, to_emulator: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    finished = await cli("remove", "-r", "empty", "--provider", "kaze", *to_emulator)
    assert finished.code == 0, finished.text
    assert finished.out == "There are no images or videos in empty.\n"
