"""The command record: consent, choices, Ctrl-C and a killed process; nothing paid is lost."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from aiowatermark.cli.commands.record import record
from aiowatermark.emulator import Emulator, Fault
from tests.support.cli import Cli
from tests.support.waiting import wait_until

OPTIONS = ("--provider", "gptge")
RECORD = ("record", *OPTIONS, "-o", "out")


@pytest.fixture
async def slow_emulator(cli: Cli) -> AsyncIterator[Emulator]:
    """An emulator whose keys are in the environment and whose jobs take a minute."""
    async with Emulator(restore=False, processing=60.0) as running:
        cli.use_keys_of(running)
        yield running


@pytest.mark.parametrize("arguments", [(), ("--path", "all"), ("--yes-this-costs",)])
def test_without_consent_or_a_choice_the_costs_are_listed_and_nothing_is_sent(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    finished = CliRunner().invoke(record, [*OPTIONS, "-o", str(tmp_path / "out"), *arguments])
    assert finished.exit_code == 2, finished.output
    assert "submit-file   submit an image file, wait, save the result: 1 submission (" in finished.output
    assert "bad-key       submit with a key that is not valid: free" in finished.output
    assert "Nothing was sent" in finished.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--provider", "gptge", "--path", "video"), "gpt.ge has no path 'video': choose of submit-file"),
        (("--provider", "gptge", "--path", "submit-url"), "the path submit-url needs --url"),
        (("--provider", "photoeraser", "--path", "submit-url"), "or --callback-url, under which a file is then served"),
        (("--provider", "dewatermark", "--path", "video"), "the path video needs --video"),
        (
            ("--provider", "photoeraser", "--path", "submit-url", "--url", "https://example.com/a.jpg"),
            "the path submit-url needs --mask, of the size of the image at the URL",
        ),
        (("--provider", "gptge", "--path", "submit-file"), "GPTGE_API_KEY is not set"),
    ],
)
def test_a_path_that_cannot_be_recorded_is_one_clear_error(
    arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GPTGE_API_KEY", raising=False)
    finished = CliRunner().invoke(record, [*arguments, "--yes-this-costs"])
    assert finished.exit_code == 2, finished.output
    assert message in finished.output


@pytest.mark.slow
async def test_a_recording_is_numbered_and_never_overwritten(
    cli: Cli, to_emulator: list[str], emulator: Emulator, tmp_path: Path
) -> None:
    arguments = ("record", "--provider", "kaze", "--path", "credits", "--yes-this-costs", *to_emulator)
    for number in (1, 2):
        finished = await cli(*arguments)
        assert finished.code == 0, finished.text
        assert f"kaze-{number}.json" in finished.out
    assert json.loads((tmp_path / "clean/kaze-1.json").read_text())["cassettes"][0]["credits"]["available"] == 1000


@pytest.mark.slow
async def test_ctrl_c_writes_what_was_recorded_and_the_paid_job_is_fetched_later(
    cli: Cli, slow_emulator: Emulator, tmp_path: Path
) -> None:
    base = ("--base-url", slow_emulator.base_url)
    running = await cli.start(*RECORD, *base, "--path", "submit-file", "--path", "submit-sync", "--yes-this-costs")
    await running.wait_for_output("accepted by gpt.ge; token")
    running.process.send_signal(signal.SIGINT)
    finished = await running.finish()
    assert finished.code == 1, finished.text
    assert "1 paid or perhaps paid jobs have not ended" in finished.err
    assert "aiowatermark resume --provider gptge --store out/jobs.db --all" in finished.err
    cassette = json.loads((tmp_path / "out/gptge-1.json").read_text())
    assert cassette["recorded"]["paths"]["submit-file"]["outcome"] == "interrupted"
    assert cassette["cassettes"][0]["snapshot"]["status"] == "queued"
    await fetch(cli, slow_emulator, tmp_path)


@pytest.mark.slow
async def test_ctrl_c_while_a_paid_request_is_unanswered_waits_for_its_answer_and_records_it(
    cli: Cli, slow_emulator: Emulator, tmp_path: Path
) -> None:
    slow_emulator.inject(Fault.stalled(1.0, after_work=True), "gptge", "submit")
    base = ("--base-url", slow_emulator.base_url)
    running = await cli.start(*RECORD, *base, "--path", "submit-file", "--yes-this-costs")
    await wait_until(lambda: slow_emulator.tasks)
    running.process.send_signal(signal.SIGINT)
    finished = await running.finish()
    assert finished.code == 1, finished.text
    assert "token: aw2." in finished.err
    cassette = json.loads((tmp_path / "out/gptge-1.json").read_text())
    assert cassette["cassettes"][0]["snapshot"]["status"] == "queued"
    await fetch(cli, slow_emulator, tmp_path)


@pytest.mark.slow
async def test_a_killed_recording_leaves_the_cassette_and_the_job(
    cli: Cli, slow_emulator: Emulator, tmp_path: Path
) -> None:
    running = await cli.start(
        *RECORD, "--base-url", slow_emulator.base_url, "--path", "submit-file", "--yes-this-costs"
    )
    await running.wait_for_output("accepted by gpt.ge; token")
    await wait_until((tmp_path / "out/gptge-1.json").exists)
    await running.kill()
    cassette = json.loads((tmp_path / "out/gptge-1.json").read_text())
    assert cassette["cassettes"][0]["call"] == "submit"
    await fetch(cli, slow_emulator, tmp_path)


async def fetch(cli: Cli, emulator: Emulator, folder: Path) -> None:
    """Let the jobs end, and fetch the result as the recording has told."""
    for task in emulator.tasks:
        task.ready_at = task.clock()
    command = ("resume", "--provider", "gptge", "--store", "out/jobs.db", "--all", "-o", "fetched")
    finished = await cli(*command, "--base-url", emulator.base_url)
    assert finished.code == 0, finished.text
    assert len(list((folder / "fetched").glob("*.jpg"))) == 1
    assert emulator.charged["gptge"] == 1
