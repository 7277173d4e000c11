"""`remove` without options pays nothing twice: after its end, Ctrl-C, a kill at any step, and beside another run."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from aiowatermark.emulator import EmulatedTask, Emulator, Fault
from tests.support.cli import Cli, printed_commands
from tests.support.files import list_names
from tests.support.images import make_jpeg
from tests.support.waiting import wait_until

SYNC = ("--provider", "gptge", "--option", "sync=true")
COUNT = 5


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    for index in range(COUNT):
        (tmp_path / f"p{index}.jpg").write_bytes(make_jpeg(padding=index + 1))
    return [f"p{index}.jpg" for index in range(COUNT)]


def results_in(folder: Path) -> list[str]:
    return list_names(folder, hidden=False) if folder.exists() else []


def results_of(names: Sequence[str]) -> list[str]:
    return [name.replace(".jpg", "-clean.jpg") for name in names]


async def test_the_same_command_again_sends_nothing_and_says_so_in_one_line(
    cli: Cli, to_emulator: list[str], pictures: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    command = ("remove", *pictures[:3], *SYNC, *to_emulator)
    assert (await cli(*command)).code == 0
    before = {name: (tmp_path / "clean" / name).stat() for name in results_in(tmp_path / "clean")}
    again = await cli(*command)
    assert again.code == 0, again.text
    assert again.out.splitlines()[0] == "3 done before"
    assert "3 done (3 before), 0 failed" in again.out
    assert len(again.out.splitlines()) == 2
    assert emulator.charged["gptge"] == 3
    assert {name: (tmp_path / "clean" / name).stat() for name in results_in(tmp_path / "clean")} == before


async def test_what_is_new_is_paid_and_the_line_counts_each_kind(
    cli: Cli, to_emulator: list[str], pictures: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    assert (await cli("remove", *pictures[:3], *SYNC, *to_emulator)).code == 0
    (tmp_path / "clean/p1-clean.jpg").unlink()
    again = await cli("remove", *pictures, *SYNC, *to_emulator)
    assert again.code == 0, again.text
    assert again.out.splitlines()[0] == "2 done before, 1 to be saved, 2 new at gpt.ge"
    assert emulator.charged["gptge"] == COUNT
    assert results_in(tmp_path / "clean") == results_of(pictures)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "paid"),
    [
        (("--option", "sync=1"), 1),  # the same value
        (("--jobs", "3"), 1),
        (("--account", "other"), 1),  # its result is here
        (("--provider", "picwish"), 2),
        (("--option", "sync=false"), 2),
    ],
)
async def test_another_option_or_provider_is_another_job_and_anything_else_is_not(  # noqa: PLR0917 - fixtures
    cli: Cli, to_emulator: list[str], pictures: list[str], emulator: Emulator, change: tuple[str, str], paid: int
) -> None:
    command = ("remove", "p0.jpg", *SYNC, *to_emulator)
    assert (await cli(*command)).code == 0
    assert (await cli(*command, *change)).code == 0
    assert sum(emulator.charged.values()) == paid


@pytest.mark.slow
async def test_the_content_of_a_mask_is_part_of_a_job_and_its_name_is_not(
    cli: Cli, emulator: Emulator, tmp_path: Path
) -> None:
    cli.use_keys_of(emulator)
    (tmp_path / "p.jpg").write_bytes(make_jpeg(64, 48))
    for name, box in (("one.png", (0, 0, 9, 9)), ("same.png", (0, 0, 9, 9)), ("other.png", (0, 0, 20, 20))):
        write_mask(tmp_path / name, box)
    command = ("remove", "p.jpg", "--provider", "kaze", "--base-url", emulator.base_url, "-o", "clean", "--mask")
    paid = []
    for name in ("one.png", "same.png", "other.png", "one.png"):
        finished = await cli(*command, name)
        assert finished.code == 0, finished.text
        paid.append(emulator.charged["kaze"])
    assert paid == [1, 1, 2, 2]


@pytest.mark.slow
async def test_a_file_that_is_changed_while_it_waits_is_not_paid_under_the_key_of_its_former_content(
    cli: Cli, pictures: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    cli.use_keys_of(emulator)
    former, latter = (tmp_path / "p1.jpg").read_bytes(), make_jpeg(padding=99)
    arguments = ("--provider", "picwish", "--base-url", emulator.base_url, "--store", "jobs.db", "--jobs", "1")

    def change_the_other_file(_: EmulatedTask) -> float:
        (tmp_path / "p1.jpg").write_bytes(latter)
        return 0.0

    emulator.picwish.processing = change_the_other_file
    first = await cli("remove", *pictures[:2], *arguments, "-o", "clean")
    assert first.code == 1, first.text
    assert "p1.jpg: was changed while it waited" in first.out
    assert emulator.charged["picwish"] == 1
    emulator.picwish.processing = None
    for content in (latter, former):
        (tmp_path / "p1.jpg").write_bytes(content)
        finished = await cli("remove", *pictures[:2], *arguments, "-o", "clean")
        assert finished.code == 0, finished.text
    assert emulator.charged["picwish"] == 3
    assert (tmp_path / "clean/p1-clean.jpg").read_bytes() == latter
    assert (tmp_path / "clean/p1-clean-2.jpg").read_bytes() == former


def write_mask(path: Path, box: tuple[int, int, int, int]) -> None:
    mask = Image.new("L", (64, 48), 0)
    mask.paste(255, box)
    mask.save(path)


@pytest.mark.slow
async def test_a_changed_file_is_a_new_job_and_the_earlier_result_stays(
    cli: Cli, to_emulator: list[str], pictures: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    command = ("remove", "p0.jpg", *SYNC, *to_emulator)
    assert (await cli(*command)).code == 0
    first = (tmp_path / "p0.jpg").read_bytes()
    (tmp_path / "p0.jpg").write_bytes(make_jpeg(padding=99))
    assert (await cli(*command)).code == 0
    assert emulator.charged["gptge"] == 2
    assert (tmp_path / "clean/p0-clean.jpg").read_bytes() == first
    assert (tmp_path / "clean/p0-clean-2.jpg").read_bytes() == (tmp_path / "p0.jpg").read_bytes()
    assert (await cli(*command)).out.startswith("1 done before\n")
    (tmp_path / "p0.jpg").write_bytes(first)
    assert (await cli(*command)).out.startswith("1 done before\n")
    assert emulator.charged["gptge"] == 2


@pytest.mark.parametrize("at_once", [True, False])
async def test_one_content_under_two_names_is_paid_once_and_written_twice(
    cli: Cli, to_emulator: list[str], tmp_path: Path, emulator: Emulator, at_once: bool
) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(make_jpeg())
    runs = [("a.jpg", "b.jpg")] if at_once else [("a.jpg",), ("a.jpg", "b.jpg")]
    for names in runs:
        finished = await cli("remove", *names, *SYNC, *to_emulator)
        assert finished.code == 0, finished.text
    assert emulator.charged["gptge"] == 1
    assert results_in(tmp_path / "clean") == ["a-clean.jpg", "b-clean.jpg"]
    assert (tmp_path / "clean/b-clean.jpg").read_bytes() == make_jpeg()


async def test_a_copy_is_made_of_the_saved_result_also_when_its_link_has_expired(
    cli: Cli, to_emulator: list[str], pictures: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    assert (await cli("remove", "p0.jpg", *SYNC, *to_emulator)).code == 0
    (tmp_path / "copy.jpg").write_bytes((tmp_path / "p0.jpg").read_bytes())
    emulator.inject(Fault.status(404), "gptge", "result", times=99)
    finished = await cli("remove", "copy.jpg", *SYNC, *to_emulator)
    assert finished.code == 0, finished.text
    assert (tmp_path / "clean/copy-clean.jpg").read_bytes() == (tmp_path / "p0.jpg").read_bytes()
    assert emulator.charged["gptge"] == 1


async def test_without_a_store_everything_is_paid_again_and_nothing_is_remembered(
    cli: Cli, to_emulator: list[str], pictures: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    for _ in range(2):
        assert (await cli("remove", "p0.jpg", *SYNC, *to_emulator, "--no-store")).code == 0
    assert emulator.charged["gptge"] == 2
    assert list_names(tmp_path / "clean") == ["p0-clean-2.jpg", "p0-clean.jpg"]


# --again


@pytest.mark.slow
async def test_again_says_what_it_costs_and_pays_anew_once(
    cli: Cli, emulator: Emulator, pictures: list[str], tmp_path: Path
) -> None:
    cli.use_keys_of(emulator)
    command = ("remove", *pictures[:2], "--provider", "dewatermark", "--base-url", emulator.base_url, "-o", "clean")
    assert (await cli(*command)).code == 0
    again = await cli(*command, "--again")
    assert again.code == 0, again.text
    assert again.out.splitlines()[0] == "--again pays anew: 2 jobs at Dewatermark, 2 credits (1 for an image)"
    assert emulator.charged["dewatermark"] == 4
    assert results_in(tmp_path / "clean") == sorted([*results_of(pictures[:2]), "p0-clean-2.jpg", "p1-clean-2.jpg"])
    third = await cli(*command)
    assert third.out.startswith("2 done before\n")
    assert emulator.charged["dewatermark"] == 4
    assert (await cli(*command, "--again")).code == 0
    assert emulator.charged["dewatermark"] == 6


@pytest.mark.slow
async def test_again_pays_for_a_job_that_failed_and_one_in_doubt(
    cli: Cli, to_emulator: list[str], pictures: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.failed(), "gptge")
    assert (await cli("remove", "p0.jpg", *SYNC, *to_emulator)).code == 1
    emulator.inject(Fault.dropped_after(), "gptge", "submit")
    assert (await cli("remove", "p1.jpg", *SYNC, *to_emulator)).code == 1
    paid = emulator.charged["gptge"]
    command = ("remove", "p0.jpg", "p1.jpg", *SYNC, *to_emulator)
    without = await cli(*command)
    assert without.out.startswith("1 failed before, 1 in doubt\n")
    assert emulator.charged["gptge"] == paid
    again = await cli(*command, "--again")
    assert again.code == 0, again.text
    assert "what they cost is not known, as gpt.ge documents no price" in again.out
    assert emulator.charged["gptge"] == paid + 2


@pytest.mark.slow
@pytest.mark.parametrize("option", [(), ("--again",)])
async def test_a_run_with_again_that_was_killed_is_continued_by_either_command(
    cli: Cli, pictures: list[str], tmp_path: Path, option: tuple[str, ...]
) -> None:
    async with Emulator(
        restore=False, processing=lambda _: 2.0 if len(emulator.tasks) == COUNT + 4 else 0.0
    ) as emulator:
        cli.use_keys_of(emulator)
        command = ("remove", *pictures, "--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean")
        assert (await cli(*command)).code == 0
        running = await cli.start(*command, "--again", "--jobs", "1")
        # three are saved, the fourth was accepted, the fifth is unsent
        await wait_until(lambda: len(emulator.tasks) == COUNT + 4 and emulator.tasks[-1].queries)
        await running.kill()
        continued = await cli(*command, *option)
        assert continued.code == 0, continued.text
        assert "3 done before, 1 continue, 1 new" in continued.out
        assert emulator.charged["gptge"] == 2 * COUNT
        assert len(results_in(tmp_path / "clean")) == 2 * COUNT


# interrupted


@pytest.mark.slow
async def test_ctrl_c_is_one_line_and_the_same_command_continues(cli: Cli, pictures: list[str], tmp_path: Path) -> None:
    async with Emulator(restore=False, processing=lambda _: 0.0 if len(emulator.tasks) < 3 else 3.0) as emulator:
        cli.use_keys_of(emulator)
        command = ("remove", *pictures, "--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean")
        running = await cli.start(*command, "--jobs", "1")
        await wait_until(lambda: len(emulator.tasks) == 3 and emulator.tasks[-1].queries)
        running.process.send_signal(signal.SIGINT)
        stopped = await running.finish()
        assert stopped.code == 1
        assert stopped.out.splitlines()[-1] == "Stopped: 2 done, 1 open, 2 unsent; the same command continues"
        continued = await cli(*command)
        assert continued.code == 0, continued.text
        assert continued.out.startswith("2 done before, 1 continue, 2 new at gpt.ge\n")
        assert emulator.charged["gptge"] == COUNT
        assert results_in(tmp_path / "clean") == results_of(pictures)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [(1, 2, 3, 4), (2, 4), (5,)])
async def test_a_run_that_is_killed_again_and_again_pays_each_file_at_most_once(
    cli: Cli, pictures: list[str], tmp_path: Path, kills: Sequence[int]
) -> None:
    async with Emulator(restore=False, processing=0.3) as emulator:
        cli.use_keys_of(emulator)
        command = ("remove", *pictures, "--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean")
        for count in kills:
            running = await cli.start(*command, "--jobs", "2")
            await wait_until(lambda: len(emulator.tasks) >= count or running.process.returncode is not None)  # noqa: B023
            await running.kill()
        last = await cli(*command)
        in_doubt = [job["key"] for job in (await cli("jobs", "-o", "clean", "--json")).lines]
        charged = Counter(task.charges for task in emulator.tasks)
        assert charged == {1: len(emulator.tasks)}
        assert len(emulator.tasks) <= COUNT
        saved = results_in(tmp_path / "clean")
        assert set(saved) <= set(results_of(pictures))
        assert len(saved) + len(in_doubt) == COUNT, last.text
        assert last.code == (1 if in_doubt else 0)


@pytest.mark.slow
async def test_a_run_that_is_killed_while_it_saves_saves_under_the_same_name(
    cli: Cli, to_emulator: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    (tmp_path / "p.jpg").write_bytes(make_jpeg(padding=9_000_000))  # written in batches of 4 MiB
    emulator.inject(Fault.slow(2_000_000), "gptge", "result")
    command = ("remove", "p.jpg", *SYNC, *to_emulator)
    running = await cli.start(*command)
    await wait_until(lambda: any(part.stat().st_size for part in (tmp_path / "clean").glob(".*.fetching/*")), 60.0)
    await running.kill()
    again = await cli(*command)
    assert again.code == 0, again.text
    assert again.out.startswith("1 to be saved\n")
    assert results_in(tmp_path / "clean") == ["p-clean.jpg"]
    assert (tmp_path / "clean/p-clean.jpg").read_bytes() == (tmp_path / "p.jpg").read_bytes()
    assert emulator.charged["gptge"] == 1


# side by side


@pytest.mark.slow
@pytest.mark.parametrize("option", [(), ("--again",)])
async def test_two_runs_of_one_command_at_once_pay_once_and_save_each_result_once(
    cli: Cli, pictures: list[str], tmp_path: Path, option: tuple[str, ...]
) -> None:
    async with Emulator(restore=False, processing=0.5) as emulator:
        cli.use_keys_of(emulator)
        command = ("remove", *pictures, "--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean")
        both = await asyncio.gather(cli(*command, *option), cli(*command, *option))
        assert [each.code for each in both] == [0, 0], both[0].text + both[1].text
        assert emulator.charged["gptge"] == COUNT
        saved = results_in(tmp_path / "clean")
        assert saved == results_of(pictures)
        for name, result in zip(pictures, saved, strict=True):
            assert (tmp_path / "clean" / result).read_bytes() == (tmp_path / name).read_bytes()
        assert (await cli(*command)).out.startswith(f"{COUNT} done before\n")


@pytest.mark.slow
async def test_two_runs_that_save_at_the_same_moment_leave_one_file_for_each_input(
    cli: Cli, to_emulator: list[str], pictures: list[str], tmp_path: Path
) -> None:
    for attempt in range(4):
        command = ("remove", *pictures, *SYNC, *to_emulator[:2], "-o", f"clean{attempt}")
        both = await asyncio.gather(cli(*command), cli(*command))
        assert [each.code for each in both] == [0, 0], both[0].text + both[1].text
        assert results_in(tmp_path / f"clean{attempt}") == results_of(pictures)


# resume and jobs know the output folder


@pytest.mark.slow
async def test_resume_and_jobs_find_the_store_in_the_output_folder_and_the_names_of_the_files(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "photos/sub").mkdir(parents=True)
    (tmp_path / "photos/sub/a.jpg").write_bytes(make_jpeg())
    async with Emulator(restore=False, processing=5.0) as emulator:
        cli.use_keys_of(emulator)
        to_emulator = ("--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean")
        running = await cli.start("remove", "-r", "photos", *to_emulator)
        await wait_until(lambda: emulator.tasks and emulator.tasks[-1].queries)
        await running.kill()
        listed = await cli("jobs", "-o", "clean")
        assert listed.out.splitlines()[1].split()[0] == "photos/sub/a.jpg"
        (command,) = printed_commands(listed.out)
        assert command.startswith("aiowatermark resume --all --provider gptge -o clean")
        resumed = await cli.in_shell(command)
        assert resumed.code == 0, resumed.text
        assert (tmp_path / "clean/sub/a-clean.jpg").exists()
        assert (await cli("remove", "-r", "photos", *to_emulator)).out.startswith("1 done before\n")
        assert emulator.charged["gptge"] == 1


# a reader of the output that ends


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--json",), ("--no-store",), ("--no-store", "--json")])
async def test_a_reader_of_the_output_that_ends_stops_the_run_and_no_paid_job_is_lost(
    cli: Cli, pictures: list[str], tmp_path: Path, options: tuple[str, ...]
) -> None:
    def processing(_: EmulatedTask) -> float:
        return 0.0 if len(emulator.tasks) < 2 else 8.0

    async with Emulator(restore=False, processing=processing) as emulator:
        cli.use_keys_of(emulator)
        command = ("remove", *pictures, "--provider", "kaze", "--base-url", emulator.base_url, "-o", "clean", *options)
        running = await cli.start(*command)
        running.process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
        await running.process.wait()
        assert running.process.stderr is not None
        said = (await running.process.stderr.read()).decode()
        assert running.process.returncode == 1, said
        assert "The program that reads the output has ended." in said
        assert "Traceback" not in said
        charged = emulator.charged["kaze"]
        again = await cli(*(said.splitlines()[-1].split()[1:] if "--no-store" in options else command))
        assert again.code == 0, said + again.text
        assert emulator.charged["kaze"] == (charged if "--no-store" in options else COUNT)
