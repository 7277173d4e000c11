"""A refusal that concerns the whole account stops what was not sent, and is said once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aiowatermark.emulator import Emulator, Fault, ServedRequest
from tests.support.cli import Cli
from tests.support.images import make_jpeg, make_mask
from tests.support.videos import make_mp4

COUNT = 12
SYNC = ("--provider", "gptge", "--option", "sync=true")
NAMES = [f"{number:02}.jpg" for number in range(COUNT)]


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """The names of twelve images in the folder."""
    for index, name in enumerate(NAMES):
        (tmp_path / name).write_bytes(make_jpeg(padding=index))
    return NAMES


@pytest.fixture
def paid_requests() -> list[ServedRequest]:
    """The requests for a job that have arrived."""
    return []


@pytest.fixture
def uploads() -> list[ServedRequest]:
    """The uploads of videos that have arrived."""
    return []


@pytest.fixture
async def emulator(paid_requests: list[ServedRequest], uploads: list[ServedRequest]) -> AsyncIterator[Emulator]:
    """An emulator that lists the requests for a job, and the uploads of videos."""

    def note(request: ServedRequest) -> None:
        if request.method == "PUT":
            uploads.append(request)
        if request.method == "POST" and not request.path.endswith("get_task_result"):
            paid_requests.append(request)

    async with Emulator(restore=False, processing=0, on_request=note) as running:
        yield running


@pytest.mark.parametrize("provider", ["picwish", "gptge", "kaze", "dewatermark", "photoeraser"])
@pytest.mark.parametrize("store", [(), ("--no-store",)], ids=["store", "no store"])
async def test_without_credits_nothing_more_is_sent_at_any_provider(  # noqa: PLR0917 - fixtures
    cli: Cli,
    to_emulator: list[str],
    photos: list[str],
    emulator: Emulator,
    paid_requests: list[ServedRequest],
    tmp_path: Path,
    provider: str,
    store: tuple[str, ...],
) -> None:
    getattr(emulator, provider).credits = 0
    inputs = photos
    if provider == "photoeraser":
        (tmp_path / "mask.png").write_bytes(make_mask(400, 300))
        store = (*store, "--mask", "mask.png")
        inputs = [emulator.host(make_jpeg(400, 300, padding=number), f"{number}.jpg") for number in range(COUNT)]
    finished = await cli("remove", *inputs, *to_emulator, "--provider", provider, "--jobs", "1", *store)
    assert finished.code == 1
    assert len(paid_requests) == 1
    assert "0 done, 0 failed, 12 not sent in " in finished.out
    (line,) = [line for line in finished.out.splitlines() if "No credits left at" in line]
    assert ": 12 files not sent: " in line
    assert line.endswith(" and 9 more")
    assert "Top up the account, and run the same command:\n  aiowatermark remove " in finished.out


async def test_what_waits_for_the_account_s_rate_is_not_sent_either(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, paid_requests: list[ServedRequest]
) -> None:
    emulator.picwish.credits = 0
    finished = await cli("remove", *photos, *to_emulator, "--provider", "picwish", "--jobs", "100", "--json")
    assert finished.code == 1
    assert len(paid_requests) <= 2, "the first, and one whose turn came meanwhile"
    assert {line["status"] for line in finished.lines} == {"refused", "unsent"}
    assert len(finished.lines) == COUNT
    assert all("No credits left at PicWish" in line["error"] for line in finished.lines)
    assert not (await cli("jobs", "-o", "clean", "--json")).lines


async def test_what_was_accepted_is_waited_for_and_the_same_command_sends_the_rest(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.gptge.credits = 5
    command = ("remove", *photos, *to_emulator, *SYNC)
    finished = await cli(*command)
    assert finished.code == 1
    assert "5 done, 0 failed, 7 not sent in " in finished.out
    assert ": 7 files not sent: " in finished.out
    emulator.gptge.credits = 100
    again = await cli(*command)
    assert again.code == 0, again.text
    assert again.out.splitlines()[0] == "5 done before, 7 new at gpt.ge"
    assert emulator.charged["gptge"] == COUNT


async def test_what_is_at_the_provider_is_fetched_without_credits(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    command = ("remove", *photos[:4], *to_emulator, *SYNC)
    assert (await cli(*command)).code == 0
    (tmp_path / "clean/03-clean.jpg").unlink()
    emulator.gptge.credits = 0
    finished = await cli("remove", *photos, *to_emulator, *SYNC, "--jobs", "1")
    assert "4 done (3 before), 0 failed, 8 not sent in " in finished.out


async def test_the_account_that_was_named_is_said(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.kaze.credits = 0
    finished = await cli("remove", photos[0], *to_emulator, "--provider", "kaze", "--account", "shop")
    assert "No credits left at Kaze (code 1003) (account shop): 1 file not sent: 00.jpg\n" in finished.out


@pytest.mark.parametrize("provider", ["picwish", "gptge", "kaze", "dewatermark"])
async def test_a_bad_key_is_believed_when_it_is_refused_twice(
    cli: Cli, to_emulator: list[str], photos: list[str], paid_requests: list[ServedRequest], provider: str
) -> None:
    variable = f"{provider.upper()}_API_KEY"
    cli.env[variable] = "wrong"
    finished = await cli("remove", *photos, *to_emulator, "--provider", provider, "--jobs", "1")
    assert finished.code == 2
    assert len(paid_requests) == 2
    assert ": 12 files not sent: 00.jpg, 01.jpg, 02.jpg and 9 more\n" in finished.out
    assert f"Check {variable}, and run the same command:\n" in finished.out


@pytest.mark.parametrize("status", [401, 403])
async def test_a_single_refusal_of_the_key_is_that_of_one_file(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, status: int
) -> None:
    emulator.inject(Fault.status(status), "gptge", "submit")
    finished = await cli("remove", *photos, *to_emulator, *SYNC, "--jobs", "1")
    assert "11 done, 0 failed, 1 refused in " in finished.out
    assert "  00.jpg: gpt.ge " in finished.out


async def test_no_other_error_stops_the_others(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.status(400), "gptge", "submit", times=3)
    finished = await cli("remove", *photos, *to_emulator, *SYNC, "--jobs", "1")
    assert "9 done, 0 failed, 3 refused in " in finished.out


async def test_of_videos_only_those_are_uploaded_that_were_under_way_when_the_account_was_refused(
    cli: Cli, to_emulator: list[str], emulator: Emulator, uploads: list[ServedRequest], tmp_path: Path
) -> None:
    emulator.dewatermark.credits = 0
    names = [f"{number}.mp4" for number in range(5)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(make_mp4(4096 + number))
    command = ("remove", *names, *to_emulator, "--provider", "dewatermark", "--jobs", "1")
    finished = await cli(*command, "--json")
    assert finished.code == 1
    assert len(uploads) == 1
    assert sorted(line["status"] for line in finished.lines) == ["refused", *["unsent"] * 4]
    assert all("No credits left" in line["error"] and line["token"] is None for line in finished.lines)
    assert "0 done, 0 failed, 5 not sent in " in finished.err
    assert ": 5 files not sent: 0.mp4, 1.mp4, 2.mp4 and 2 more\n" in finished.err
    assert not (await cli("jobs", "-o", "clean", "--json")).lines
    emulator.dewatermark.credits = 100
    again = await cli(*command)
    assert again.code == 0, again.text
    assert emulator.charged["dewatermark"] == 5
