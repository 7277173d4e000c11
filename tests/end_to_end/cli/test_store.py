"""Runs on a store: killed and repeated, they do nothing twice; what may have been paid is decided by hand."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import define, field

from aiowatermark.emulator import EmulatedTask, Emulator, Fault

if TYPE_CHECKING:
    from .conftest import Cli, Ended

Picture = Callable[..., bytes]
COUNT = 6
SYNC = ("--option", "sync=true")
ON = ("--provider", "gptge", "-o", "clean", "--store", "jobs.db")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@define(eq=False)
class Moment:
    """An emulator's processing time that tells when so many jobs have begun."""

    count: int
    seconds: float
    come: asyncio.Event = field(factory=asyncio.Event)
    begun: int = 0

    def __call__(self, _: EmulatedTask) -> float:
        self.begun += 1
        if self.begun >= self.count:
            self.come.set()
        return self.seconds


@pytest.fixture
def pictures(tmp_path: Path, picture: Picture) -> list[str]:
    for index in range(COUNT):
        (tmp_path / f"p{index}.jpg").write_bytes(picture(padding=index + 1))
    return [f"p{index}.jpg" for index in range(COUNT)]


async def killed(cli: Cli, arguments: Sequence[str], moment: asyncio.Event) -> None:
    """A run that is killed at a moment."""
    running = await cli.start(*arguments)
    come, ended = asyncio.ensure_future(moment.wait()), asyncio.ensure_future(running.ended())
    await asyncio.wait([come, ended], timeout=20, return_when=asyncio.FIRST_COMPLETED)
    assert come.done(), ended.result().text if ended.done() else "it hangs"
    running.process.kill()
    await ended


async def listed(cli: Cli) -> list[dict[str, object]]:
    return (await cli("jobs", "--store", "jobs.db", "--json")).lines


@pytest.mark.parametrize(("at", "seconds"), [(1, 0.1), (4, 0.4), (COUNT, 0.8)])
async def test_a_run_that_was_killed_is_continued_by_the_same_command_and_pays_nothing_twice(
    cli: Cli, pictures: list[str], tmp_path: Path, at: int, seconds: float
) -> None:
    moment = Moment(at, seconds)
    async with Emulator(restore=False, processing=moment) as emulator:
        cli.has_keys_of(emulator)
        command = ("remove", *pictures, *ON, "--base-url", emulator.base_url, "--jobs", "3")
        await killed(cli, command, moment.come)
        again = await cli(*command)
        doubtful = [job["key"] for job in await listed(cli)]
        saved = names(tmp_path / "clean")
        # those that were on their way when the kill came are listed, and nothing else is missing
        assert len(saved) + len(doubtful) == COUNT
        assert again.code == (1 if doubtful else 0), again.text
        assert all(f"key {key}" in again.out for key in doubtful)
        assert all(task.charges == 1 for task in emulator.tasks)
        assert emulator.charged["gptge"] <= COUNT
        charged = emulator.charged["gptge"]
        third = await cli(*command)
        assert emulator.charged["gptge"] == charged
        assert f"{len(saved)} done ({len(saved)} already before)" in third.out
    assert all(
        (tmp_path / "clean" / f"p{index}-clean.jpg").name in saved for index in range(len(saved)) if not doubtful
    )
    for name in saved:
        original = name.replace("-clean", "")
        assert (tmp_path / "clean" / name).read_bytes() == (tmp_path / original).read_bytes()


async def test_what_was_on_its_way_when_the_kill_came_is_listed_and_sent_again_only_once_it_is_forgotten(
    cli: Cli, pictures: list[str], tmp_path: Path
) -> None:
    moment = Moment(1, 0.0)
    async with Emulator(restore=False, processing=moment) as emulator:
        cli.has_keys_of(emulator)
        emulator.inject(Fault.stalled(after_work=True), "gptge", "submit")
        command = ("remove", "p0.jpg", *ON, "--base-url", emulator.base_url)
        await killed(cli, command, moment.come)
        again = await cli(*command)
        assert again.code == 1
        assert "In doubt, 1: sent, no answer is known; not sent again, because they may be paid:" in again.out
        (job,) = await listed(cli)
        key = str(job["key"])
        assert key.startswith("p0-")
        assert (job["status"], job["task_id"], job["provider"]) == ("in_doubt", None, "gptge")
        (forgetting,) = [line for line in again.out.splitlines() if "jobs forget" in line]
        assert emulator.charged["gptge"] == 1
        forgotten = await cli(*forgetting.split()[1:])
        assert forgotten.out == f"forgotten  {key}\n"
        assert (await cli(*command)).code == 0
        assert emulator.charged["gptge"] == 2
    assert names(tmp_path / "clean") == ["p0-clean.jpg"]


async def test_a_killed_runs_jobs_are_listed_and_resumed_by_key_and_all_at_once(
    cli: Cli, pictures: list[str], tmp_path: Path
) -> None:
    moment = Moment(4, 1.5)
    async with Emulator(restore=False, processing=moment) as emulator:
        cli.has_keys_of(emulator)
        at = ("--base-url", emulator.base_url)
        stopped = await cli.start("remove", *pictures[:4], *ON, *at)
        async with asyncio.timeout(20):
            await moment.come.wait()
        stopped.process.send_signal(signal.SIGINT)
        ended = await stopped.ended()
        assert "aiowatermark resume --provider gptge -o clean --base-url" in ended.out
        jobs = await listed(cli)
        assert len(jobs) == 4
        for_people = await cli("jobs", "--store", "jobs.db")
        assert all(str(job[name]) in for_people.out for job in jobs for name in ("key", "task_id", "token"))
        assert "4 under way" in for_people.out
        one = await cli("resume", str(jobs[0]["key"]), *ON, *at)
        assert one.code == 0, one.text
        rest = await cli("resume", "--all", *ON, *at)
        assert rest.code == 0, rest.text
        assert "3 done" in rest.out
        assert await listed(cli) == []
        repeated = await cli("remove", *pictures[:4], *ON, *at)
        assert "4 done (4 already before)" in repeated.out
        assert emulator.charged["gptge"] == 4
    assert names(tmp_path / "clean") == [f"p{index}-clean.jpg" for index in range(4)]


async def test_a_file_that_is_gone_or_cut_is_fetched_again_and_not_paid_again(
    cli: Cli, at: list[str], pictures: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    command = ("remove", "p0.jpg", "p1.jpg", "p2.jpg", *ON, *SYNC, *at[:2])
    assert (await cli(*command)).code == 0
    clean = tmp_path / "clean"
    (clean / "p0-clean.jpg").unlink()
    (clean / "p1-clean.jpg").write_bytes(b"")
    again = await cli(*command)
    assert again.code == 0, again.text
    assert "already done  p2.jpg -> clean/p2-clean.jpg" in again.out
    assert "3 done (1 already before)" in again.out
    assert names(clean) == ["p0-clean.jpg", "p1-clean.jpg", "p2-clean.jpg"]
    assert (clean / "p1-clean.jpg").read_bytes() == (tmp_path / "p1.jpg").read_bytes()
    assert emulator.charged["gptge"] == 3


async def test_another_picture_of_the_same_name_and_size_is_another_job(
    cli: Cli, at: list[str], tmp_path: Path, emulator: Emulator, picture: Picture
) -> None:
    for folder, padding in (("a", b"\x01"), ("b", b"\x02")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.jpg").write_bytes(picture() + padding)
    command = ("remove", "a/one.jpg", "b/one.jpg", *ON, *SYNC, *at[:2])
    assert (await cli(*command)).code == 0
    assert emulator.charged["gptge"] == 2
    assert (await cli(*command, "--option", "sync=1")).code == 0
    assert emulator.charged["gptge"] == 2
    assert (await cli(*command, "--option", "sync=false")).code == 0
    assert emulator.charged["gptge"] == 4
    assert len(names(tmp_path / "clean")) == 4


async def test_a_job_the_provider_failed_is_not_paid_again_by_itself(
    cli: Cli, at: list[str], pictures: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.failed(), "gptge")
    command = ("remove", "p0.jpg", *ON, *SYNC, *at[:2])
    assert (await cli(*command)).code == 1
    again = await cli(*command)
    assert again.code == 1
    assert "To pay for another try:" in again.out
    assert emulator.charged["gptge"] == 1
    (forgetting,) = [line for line in again.out.splitlines() if "jobs forget" in line]
    assert (await cli(*forgetting.split()[1:])).code == 0
    assert (await cli(*command)).code == 0
    assert emulator.charged["gptge"] == 2


async def test_answers_with_bytes_are_kept_by_the_store_and_saved_again(
    cli: Cli, at: list[str], pictures: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    command = ("remove", "p0.jpg", "--provider", "dewatermark", *ON[2:], *at[:2])
    assert (await cli(*command)).code == 0
    before = (tmp_path / "clean/p0-clean.jpg").read_bytes()
    (tmp_path / "clean/p0-clean.jpg").unlink()
    assert (await cli(*command)).code == 0
    assert (tmp_path / "clean/p0-clean.jpg").read_bytes() == before
    assert emulator.charged["dewatermark"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("jobs",), 2, "--store says where the jobs are remembered"),
        (("jobs", "--store", "none.db"), 2, "there is no store at none.db"),
        (("jobs", "--store", "p0.jpg"), 2, "p0.jpg is no store of aiowatermark"),
        (("jobs", "forget", "key", "--store", "none.db"), 2, "there is no store at none.db"),
        (("remove", "p0.jpg", *ON[:4], "--store", "p1.jpg"), 2, "p1.jpg is no store of aiowatermark"),
        (("remove", "p0.jpg", *ON[:4], "--store", "http://x"), 2, "redis://"),
        (("resume", *ON), 2, "give tokens or keys, or --all"),
        (("resume", "key", "--all", *ON), 2, "give tokens or keys, or --all"),
        (("resume", "--all", *ON[:4]), 2, "--store says where"),
        (("resume", "key", *ON[:4]), 1, "this is no token of a job; a key needs the --store that knows it"),
    ],
)
async def test_what_cannot_be_right_is_one_sentence(  # noqa: PLR0917 - fixtures
    cli: Cli, at: list[str], pictures: list[str], arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    with_base = ("--base-url", at[1]) if arguments[0] in {"remove", "resume"} else ()
    ended = await cli(*arguments, *with_base)
    assert ended.code == code, ended.text
    assert sentence in " ".join(ended.text.split())
    assert "Traceback" not in ended.text


async def test_keys_nobody_knows_are_named(cli: Cli, at: list[str], pictures: list[str]) -> None:
    command = (*ON, *at[:2])
    assert (await cli("remove", "p0.jpg", *SYNC, *command)).code == 0
    assert (await cli("jobs", "--store", "jobs.db")).out == "Nothing is unfinished.\n"
    forgotten = await cli("jobs", "--store", "jobs.db", "forget", "nobody")
    assert (forgotten.code, forgotten.out) == (1, "")
    assert "the store knows no job of this key" in forgotten.err
    resumed = await cli("resume", "nobody", *command)
    assert resumed.code == 1
    assert "the store knows no job of this key" in resumed.out


def _line(ended: Ended) -> dict[str, object]:
    (line,) = ended.out.splitlines()
    told: dict[str, object] = json.loads(line)
    return told


async def test_json_tells_the_same_key_in_every_run(cli: Cli, at: list[str], pictures: list[str]) -> None:
    command = ("remove", "p0.jpg", *ON, *SYNC, *at[:2], "--json")
    first, second = _line(await cli(*command)), _line(await cli(*command))
    assert first["key"] == second["key"]
    assert second["output"] == "clean/p0-clean.jpg"
    assert second["status"] == "done"
