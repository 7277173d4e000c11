"""Every run that sends something says first how many inputs go to which provider, and what they cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiowatermark.emulator import Emulator, Fault
from tests.support.cli import Cli, printed_commands
from tests.support.images import make_jpeg, make_mask

DEWATERMARK = ("--provider", "dewatermark")
PICWISH = ("--provider", "picwish", "--option", "sync=true")
SYNC = ("--provider", "gptge", "--option", "sync=true")


def first_line(text: str) -> str:
    return text.splitlines()[0]


async def test_a_second_run_into_the_same_folder(cli: Cli, to_emulator: list[str], photos: list[str]) -> None:
    assert (await cli("remove", photos[0], *DEWATERMARK, *to_emulator)).code == 0
    others = await cli("remove", *photos[1:], *DEWATERMARK, *to_emulator)
    assert first_line(others.out) == "2 new at Dewatermark, up to 2 credits (1 for an image)"


async def test_a_run_that_also_finds_what_was_done(cli: Cli, to_emulator: list[str], photos: list[str]) -> None:
    assert (await cli("remove", *photos[:2], *DEWATERMARK, *to_emulator)).code == 0
    mixed = await cli("remove", *photos, *DEWATERMARK, *to_emulator)
    assert first_line(mixed.out) == "2 done before, 1 new at Dewatermark, up to 1 credit (1 for an image)"


@pytest.mark.slow
async def test_a_run_with_another_option_or_a_mask(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "mask.png").write_bytes(make_mask())
    assert (await cli("remove", photos[0], *DEWATERMARK, *to_emulator)).code == 0
    pro = await cli("remove", photos[0], *DEWATERMARK, *to_emulator, "--option", "pro=true")
    assert first_line(pro.out) == "1 new at Dewatermark, up to 3 credits (3 for an image)"
    masked = await cli("remove", photos[0], *DEWATERMARK, *to_emulator, "--mask", "mask.png")
    assert first_line(masked.out) == "1 new at Dewatermark, up to 1 credit (1 for an image)"


async def test_a_run_after_a_refused_key(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.status(401), "dewatermark", "submit", times=None)
    assert (await cli("remove", *photos, *DEWATERMARK, *to_emulator)).code == 2
    emulator.heal()
    again = await cli("remove", *photos, *DEWATERMARK, *to_emulator)
    assert first_line(again.out) == "3 new at Dewatermark, up to 3 credits (1 for an image)"


@pytest.mark.slow
async def test_a_run_after_a_settlement_as_unpaid(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    command = ("remove", photos[0], *SYNC, *to_emulator)
    emulator.inject(Fault.dropped_after(), "gptge", "submit")
    doubtful = await cli(*command)
    (unpaid,) = [each for each in printed_commands(doubtful.out) if each.endswith("--unpaid")]
    assert (await cli.in_shell(unpaid)).code == 0
    assert first_line((await cli(*command)).out) == "1 new at gpt.ge"


async def test_a_run_on_a_store_elsewhere(cli: Cli, to_emulator: list[str], photos: list[str]) -> None:
    for number in range(2):
        command = ("remove", photos[number], *DEWATERMARK, *to_emulator, "--store", "jobs.db")
        assert first_line((await cli(*command)).out) == "1 new at Dewatermark, up to 1 credit (1 for an image)"


@pytest.mark.slow
async def test_a_run_over_stdin(cli: Cli, to_emulator: list[str], photos: list[str]) -> None:
    command, stdin = ("remove", "-", *to_emulator), "\n".join(photos)
    known = await cli(*command, *DEWATERMARK, stdin=stdin)
    assert first_line(known.out) == "each new input is paid at Dewatermark: 1 credit for an image"
    unknown = await cli(*command, *PICWISH, stdin=photos[0])
    assert first_line(unknown.out) == "each new input is paid at PicWish"
    average = await cli(*command, *PICWISH, stdin=stdin)
    said = "each new input is paid at PicWish: earlier images cost 1 credit each on average"
    assert first_line(average.out) == said
    no_store = await cli(*command, *DEWATERMARK, "--no-store", stdin=photos[0])
    assert first_line(no_store.out) == "each new input is paid at Dewatermark: 1 credit for an image"


@pytest.mark.slow
async def test_the_estimate_of_a_dearer_option_is_not_that_of_cheaper_jobs(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "new.jpg").write_bytes(make_jpeg(padding=9))
    advanced = ("--provider", "picwish", *to_emulator, "--option", "tier=advanced")
    assert (await cli("remove", *photos, *PICWISH, *to_emulator)).code == 0
    dry = await cli("remove", *photos, *advanced, "--dry-run")
    assert "To be paid: 3 jobs; what they cost is not known, as PicWish documents no price\n" in dry.out
    standard = await cli("remove", "new.jpg", *PICWISH, *to_emulator, "--dry-run")
    assert "To be paid: 1 job, about 1 credit (earlier images cost 1 each on average)\n" in standard.out


@pytest.mark.slow
async def test_of_mixed_inputs_the_true_number_that_again_pays_for_is_said(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("not an image")
    assert (await cli("remove", photos[0], *SYNC, *to_emulator)).code == 0
    named = await cli("remove", *photos, "text.jpg", *SYNC, *to_emulator, "--account", "shop")
    kept = "under another account (without --account): the result is kept; --again pays anew for 3 of the 4 files"
    assert f"1 of these was done here {kept}\n" in named.out


# lists on stdin


@pytest.mark.parametrize("option", [(), ("--dry-run",), ("--no-store",), ("--json",)])
async def test_an_empty_list_on_stdin_is_an_error_and_no_success(
    cli: Cli, to_emulator: list[str], option: tuple[str, ...]
) -> None:
    finished = await cli("remove", "-", *SYNC, *to_emulator, *option, stdin="\n\n")
    assert finished.code == 2, finished.text
    assert "there was no input on stdin: " in finished.err
    assert "0 done" not in finished.text


async def test_after_a_list_on_stdin_no_command_is_printed_that_would_wait_for_the_terminal(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.status(402), "gptge", "submit", times=None)
    finished = await cli("remove", "-", *SYNC, *to_emulator, stdin="\n".join(photos))
    assert "run the same command. Give it the same lines on stdin.\n" in finished.out
    assert not printed_commands(finished.out)


async def test_nothing_is_announced_as_refused_that_another_account_has_sent(
    cli: Cli, to_emulator: list[str], photos: list[str]
) -> None:
    async with Emulator(restore=False, processing=60) as slow:
        cli.use_keys_of(slow)
        command = ("remove", photos[0], "--provider", "kaze", "--base-url", slow.base_url, "-o", "clean")
        assert (await cli(*command, "--deadline", "0.2")).code == 1
        dry = await cli(*command, "--account", "shop", "--dry-run")
    assert "Would be refused:" not in dry.out
    assert "--again pays anew for it, under this account.\n" in dry.out
