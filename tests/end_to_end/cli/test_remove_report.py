"""`remove --report`: the page shows each job of the batch; nothing is paid if it cannot be written."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from aiowatermark.emulator import Emulator, Fault
from tests.support.cli import Cli
from tests.support.images import make_image
from tests.support.waiting import wait_until

REPORT = ("--report", "out/index.html", "--provider", "dewatermark")


async def test_the_report_shows_what_became_of_each_file(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.inject(Fault.failed("no watermark <found>"), provider="dewatermark", step="submit")
    finished = await cli("remove", *photos, "none.jpg", *to_emulator, *REPORT, "--jobs", "1")
    assert finished.code == 1
    assert "The images before and after: out/index.html" in finished.out
    page = (tmp_path / "out/index.html").read_text()
    assert "<h1>2 of 4 done</h1>" in page
    assert page.count('data-status="done" data-provider="Dewatermark"') == 2
    # a failed answer to the paid request itself leaves it open whether it was paid
    assert len(re.findall(r'data-status="(?:refused|in doubt)"', page)) == 2
    assert "no watermark &lt;found&gt;" in page
    assert 'href="../two.JPEG"' in page
    assert 'href="../clean/two-clean.JPEG"' in page


async def test_the_query_of_a_link_is_not_in_the_report(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, tmp_path: Path
) -> None:
    url = emulator.host(make_image(200, 200, "jpeg"), "photo.jpg")
    finished = await cli("remove", f"{url}?signature=canary", *to_emulator, *REPORT)
    assert finished.code == 0, finished.text
    page = (tmp_path / "out/index.html").read_text()
    assert "canary" not in page
    assert "photo.jpg" in page


async def test_with_json_the_path_of_the_report_is_not_on_stdout(
    cli: Cli, to_emulator: list[str], photos: list[str]
) -> None:
    finished = await cli("remove", "one.jpg", *to_emulator, *REPORT, "--json")
    assert finished.code == 0, finished.text
    assert [line["status"] for line in finished.lines] == ["done"]
    assert "out/index.html" in finished.err


@pytest.mark.parametrize("report", ["mine.html", "mine.html/index.html", "clean"])
async def test_nothing_is_paid_if_the_report_cannot_be_written(  # noqa: PLR0917 - fixtures
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, tmp_path: Path, report: str
) -> None:
    (tmp_path / "mine.html").write_text("<html>")
    (tmp_path / "clean").mkdir()
    finished = await cli("remove", "one.jpg", *to_emulator, "--provider", "dewatermark", "--report", report)
    assert finished.code == 2, finished.text
    assert report.partition("/")[0] in finished.err
    assert "Traceback" not in finished.err
    assert emulator.charged["dewatermark"] == 0
    assert (tmp_path / "mine.html").read_text() == "<html>"


async def test_a_report_does_not_replace_a_result_of_its_run(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path
) -> None:
    provider = ("--provider", "dewatermark")
    finished = await cli("remove", "one.jpg", *to_emulator, *provider, "--report", "clean/one-clean.jpg")
    assert finished.code == 1, finished.text
    assert "clean/one-clean.jpg exists and is not a report" in finished.err
    assert (tmp_path / "clean/one-clean.jpg").read_bytes() == (tmp_path / "one.jpg").read_bytes()


@pytest.mark.slow
async def test_after_ctrl_c_the_report_says_what_was_not_submitted(cli: Cli, photos: list[str], tmp_path: Path) -> None:
    async with Emulator(restore=False, processing=600) as emulator:
        cli.use_keys_of(emulator)
        options = ("--provider", "kaze", "--base-url", emulator.base_url, "-o", "clean", "--jobs", "1")
        running = await cli.start("remove", *photos, *REPORT[:2], *options)
        await wait_until(lambda: emulator.charged["kaze"] == 1 and emulator.tasks[0].queries)
        running.process.send_signal(signal.SIGINT)
        finished = await running.finish()
    assert finished.code == 1, finished.text
    page = (tmp_path / "out/index.html").read_text()
    assert page.count('data-status="unfinished"') == 1
    assert "The run was stopped: 2 inputs are not shown, they were not submitted." in page


async def test_the_page_says_a_failure_as_the_summary_does(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.inject(Fault.failed(), provider="gptge", step="submit")
    gptge = ("--provider", "gptge", "--option", "sync=true", "--report", "out/index.html")
    finished = await cli("remove", photos[0], *to_emulator, *gptge)
    assert finished.code == 1
    sentence = "gpt.ge could not do it and gives no reason"
    assert sentence in finished.out
    page = (tmp_path / "out/index.html").read_text()
    assert sentence in page
    assert "the job failed" not in page
