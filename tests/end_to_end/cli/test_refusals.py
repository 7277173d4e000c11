"""What the command line says of refusals: what to do, in words, without raw answers and class names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aiowatermark import AuthenticationError, Rejected
from aiowatermark.cli.console.problems import problem_text
from aiowatermark.emulator import Emulator, Fault
from tests.support.cli import Cli
from tests.support.http_server import free_port
from tests.support.images import make_mask

GPTGE = ("--provider", "gptge", "--option", "sync=true")


async def test_a_key_that_is_refused_for_all_is_named_and_nothing_could_be_started(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path
) -> None:
    cli.env["GPTGE_API_KEY"] = "wrong"
    finished = await cli("remove", *photos, *GPTGE, *to_emulator)
    assert finished.code == 2, finished.text
    assert "gpt.ge does not accept the API key" in finished.out
    assert "Check GPTGE_API_KEY, and run the same command:" in finished.out
    assert "{" not in finished.text
    (line, *_) = (await cli("remove", *photos, *GPTGE, *to_emulator, "--json")).lines
    assert "{" in line["error"], "programs get the whole answer"
    (tmp_path / "draft.jpg").write_text("not an image")
    assert (await cli("remove", *photos, "draft.jpg", *GPTGE, *to_emulator)).code == 2, "it would be refused anyway"


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (("romove", "a.jpg"), "remove"),
        (("emulater",), "emulator"),
        (("remove", "a.jpg", "--provider", "pickwish", "-o", "clean"), "picwish"),
        (("credits", "--provider", "Kazee"), "kaze"),
    ],
)
async def test_a_misspelt_name_is_answered_with_the_nearest(cli: Cli, arguments: tuple[str, ...], nearest: str) -> None:
    finished = await cli(*arguments)
    assert finished.code == 2
    assert f"Did you mean {nearest}?" in " ".join(finished.err.split())


async def test_a_file_that_is_refused_is_counted_so_and_not_as_new(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    assert (await cli("remove", photos[0], *GPTGE, *to_emulator)).code == 0
    (tmp_path / "draft.jpg").write_text("not an image")
    for line in ("1 done before, 1 new at gpt.ge, 1 refused", "2 done before, 1 refused"):
        finished = await cli("remove", *photos[:2], "draft.jpg", *GPTGE, *to_emulator)
        assert finished.code == 1
        assert finished.out.splitlines()[0] == line
        assert "draft.jpg: is not an image" in finished.out
    assert emulator.charged["gptge"] == 2


async def test_a_key_that_is_refused_once_is_the_failure_of_one_file(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.status(401), "gptge", "submit")
    assert (await cli("remove", *photos, *GPTGE, *to_emulator)).code == 1


async def test_the_key_of_another_command_that_is_refused_is_named(cli: Cli, to_emulator: list[str]) -> None:
    cli.env["KAZE_API_KEY"] = "wrong"
    finished = await cli("credits", "--provider", "kaze", *to_emulator[:2])
    assert finished.code == 2
    assert "check KAZE_API_KEY" in finished.err
    assert "{" not in finished.err


async def test_without_credits_the_same_command_continues_after_topping_up(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.gptge.credits = 0
    finished = await cli("remove", photos[0], *GPTGE, *to_emulator)
    assert finished.code == 1
    assert "No credits left at gpt.ge" in finished.out
    assert "Top up the account, and run the same command:" in finished.out
    assert "{" not in finished.out


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Rejected("Kaze refused", answer='{"code": 4, "message": "too dark"}'), "Kaze refused (it says: too dark)"),
        (Rejected("Kaze refused", answer='{"code": 4, "mess'), "Kaze refused"),
        (Rejected("Kaze refused", answer="<html>nginx</html>"), "Kaze refused"),
        (
            Rejected("Kaze refused", answer='HTTP 200 {"code": 4, "message": "too dark"}'),
            "Kaze refused (it says: too dark)",
        ),
        (Rejected("Kaze refused", answer="too dark"), "Kaze refused (it says: too dark)"),
        (AuthenticationError("no"), "no: check the API key"),
        (ValueError(), "an unexpected error (ValueError)"),
        (ValueError("too long"), "too long"),
        (TimeoutError(), "timed out"),
        (PermissionError(13, "Permission denied", "a.jpg"), "this user has no permission there"),
        (BlockingIOError(11, "Resource temporarily unavailable"), "Resource temporarily unavailable"),
        (OSError("a.jpg is not a regular file"), "a.jpg is not a regular file"),
    ],
)
def test_an_error_is_said_without_class_names_and_raw_answers(error: Exception, text: str) -> None:
    assert problem_text(error) == text


@pytest.mark.parametrize("command", [("credits",), ("remove", "one.jpg", "-o", "clean"), ("doctor",)])
async def test_a_provider_that_cannot_be_reached_is_said_without_python_words(
    cli: Cli, photos: list[str], command: tuple[str, ...]
) -> None:
    cli.env["KAZE_API_KEY"] = "any"
    finished = await cli(*command, "--provider", "kaze", "--base-url", f"http://127.0.0.1:{free_port()}")
    assert finished.code in {1, 2}
    assert re.search("Connection refused|the connection is refused", finished.text)
    assert not re.search(r"[a-z]Error|Errno|\('", finished.text)


async def test_a_port_of_the_emulator_that_is_taken_is_said_without_python_words(cli: Cli, emulator: Emulator) -> None:
    port = emulator.base_url.rpartition(":")[2]
    finished = await cli("emulator", "--port", port)
    assert (finished.code, finished.out) == (2, "")
    assert finished.err == f"Error: the emulator cannot listen on 127.0.0.1 port {port}: Address already in use\n"


async def test_a_provider_that_accepts_urls_only_is_said_with_the_option_of_the_command_line(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "mask.png").write_bytes(make_mask())
    finished = await cli("remove", photos[0], "--mask", "mask.png", "--provider", "photoeraser", *to_emulator)
    assert "Photo Eraser accepts URLs only: pass a URL, or give --callback-url so that" in finished.out
    assert "callbacks=" not in finished.text
