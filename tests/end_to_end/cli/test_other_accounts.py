"""What was done under another API key, account name or base URL is not paid again, and the command says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiowatermark import Kaze
from aiowatermark.cli.batch.items import BatchItem, Plan
from aiowatermark.cli.batch.manifest import Work
from aiowatermark.cli.batch.output_folder import OutputFolder
from aiowatermark.cli.batch.planning.elsewhere import find_elsewhere
from aiowatermark.emulator import Emulator, Fault
from tests.support.cli import Cli
from tests.support.files import list_names

SYNC = ("--provider", "gptge", "--option", "sync=true")
KEPT = "2 of these were done here under another account ({}): the results are kept; --again pays anew"


@pytest.mark.slow
async def test_naming_the_account_later_pays_nothing_again_and_says_so(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    command = ("remove", *SYNC, *to_emulator)
    assert (await cli(*command, *photos[:2])).code == 0
    dry = await cli(*command, *photos, "--account", "shop", "--dry-run")
    assert dry.out.splitlines()[:2] == ["Dry run: 2 done before, 1 new", KEPT.format("another API key")]
    named = await cli(*command, *photos, "--account", "shop")
    assert named.out.splitlines()[:2] == ["2 done before, 1 new", KEPT.format("another API key")]
    assert emulator.charged["gptge"] == 3
    back = await cli(*command, photos[2])
    assert "1 of these was done here under another account (--account shop)" in back.out
    assert emulator.charged["gptge"] == 3


@pytest.mark.slow
async def test_again_pays_anew_under_the_account_that_is_given(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    command = ("remove", *photos[:2], *SYNC, *to_emulator)
    assert (await cli(*command)).code == 0
    again = await cli(*command, "--account", "shop", "--again")
    assert again.code == 0, again.text
    assert emulator.charged["gptge"] == 4
    assert (await cli(*command, "--account", "shop")).out.splitlines()[0] == "2 done before"
    assert emulator.charged["gptge"] == 4


@pytest.mark.slow
async def test_a_new_api_key_pays_nothing_again_and_a_copy_is_saved_under_its_own_name(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    assert (await cli("remove", photos[0], *SYNC, *to_emulator)).code == 0
    (tmp_path / "copy.jpg").write_bytes((tmp_path / photos[0]).read_bytes())
    async with Emulator(restore=False, keys={"gptge": "a-new-key-of-this-account"}) as other:
        cli.use_keys_of(other)
        command = ("remove", photos[0], "copy.jpg", *SYNC, "--base-url", other.base_url, "-o", "clean")
        finished = await cli(*command)
        assert finished.code == 0, finished.text
        assert finished.out.splitlines()[:2] == ["1 done before, 1 continue", KEPT.format(emulator.base_url)]
        assert not any(other.charged.values())
    assert list_names(tmp_path / "clean", hidden=False) == ["copy-clean.jpg", "one-clean.jpg"]


@pytest.mark.slow
async def test_what_another_account_has_sent_and_is_not_here_is_refused_with_the_command_that_fetches_it(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.status(404), "gptge", "result", times=99)
    command = ("remove", photos[0], *SYNC, *to_emulator)
    assert (await cli(*command)).code == 1
    named = await cli(*command, "--account", "shop", "--deadline", "5")
    assert named.code == 1
    assert "1 refused" in named.out
    assert "was sent under another account (another API key) and its result is not here" in " ".join(named.out.split())
    assert emulator.charged["gptge"] == 1
    assert "1 refused" in (await cli(*command, "--account", "shop", "--dry-run")).out


@pytest.mark.parametrize(("base_url", "plan"), [("https://api.kaze.ai", Plan.NEW), ("http://127.0.0.1:1", Plan.DONE)])
async def test_results_of_an_emulator_do_not_count_for_a_provider(tmp_path: Path, base_url: str, plan: Plan) -> None:
    outputs = OutputFolder(tmp_path, uses_manifest=True)
    outputs.prepare()
    (tmp_path / "download").write_bytes(b"result")
    assert outputs.manifest is not None
    item = BatchItem("a.jpg", "a.jpg")
    outputs._move_into_place(tmp_path / "download", "earlier", item.identity, item.target)
    await outputs.note_work(Work("content", "earlier", "kaze-1", "http://localhost:8700"))
    work = Work("content", "now", Kaze("a-key").account, base_url)
    assert await find_elsewhere(item, work, outputs, None) is plan
    outputs.close()
