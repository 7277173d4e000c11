"""The option --store: a run that was killed is continued, pays nothing twice, and lists what may have been paid."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import define, field

import aiowatermark as aw
from aiowatermark.emulator import EmulatedTask, Emulator, Fault
from aiowatermark.jobs import Record, Snapshot, Status
from tests.support.cli import Cli
from tests.support.files import list_names
from tests.support.images import make_jpeg
from tests.support.processes import Finished

COUNT = 6
SYNC = ("--option", "sync=true")
WITH_STORE = ("--provider", "gptge", "-o", "clean", "--store", "jobs.db")


@define(eq=False)
class ProcessingTime:
    """Processing time for an emulator; sets `reached` when `count` jobs have started."""

    count: int
    seconds: float
    reached: asyncio.Event = field(factory=asyncio.Event)
    started: int = 0

    def __call__(self, _: EmulatedTask) -> float:
        self.started += 1
        if self.started >= self.count:
            self.reached.set()
        return self.seconds


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    for index in range(COUNT):
        (tmp_path / f"p{index}.jpg").write_bytes(make_jpeg(padding=index + 1))
    return [f"p{index}.jpg" for index in range(COUNT)]


async def run_and_kill(cli: Cli, arguments: Sequence[str], when: asyncio.Event) -> None:
    """Start a run and kill it when the event is set."""
    running = await cli.start(*arguments)
    reached, finished = asyncio.ensure_future(when.wait()), asyncio.ensure_future(running.finish())
    await asyncio.wait([reached, finished], timeout=20, return_when=asyncio.FIRST_COMPLETED)
    assert reached.done(), finished.result().text if finished.done() else "timed out"
    running.process.kill()
    await finished


async def list_jobs(cli: Cli) -> list[dict[str, object]]:
    return (await cli("jobs", "--store", "jobs.db", "--json")).lines


@pytest.mark.slow
@pytest.mark.parametrize(("count", "seconds"), [(1, 0.1), (4, 0.4), (COUNT, 0.8)])
async def test_a_run_that_was_killed_is_continued_by_the_same_command_and_pays_nothing_twice(
    cli: Cli, images: list[str], tmp_path: Path, count: int, seconds: float
) -> None:
    processing = ProcessingTime(count, seconds)
    async with Emulator(restore=False, processing=processing) as emulator:
        cli.use_keys_of(emulator)
        command = ("remove", *images, *WITH_STORE, "--base-url", emulator.base_url, "--jobs", "3")
        await run_and_kill(cli, command, processing.reached)
        again = await cli(*command)
        in_doubt = [job["key"] for job in await list_jobs(cli)]
        saved = list_names(tmp_path / "clean", hidden=False)
        # jobs whose submission was in flight at the kill are in doubt; no other result is missing
        assert len(saved) + len(in_doubt) == COUNT
        assert again.code == (1 if in_doubt else 0), again.text
        assert all(f"key {key}" in again.out for key in in_doubt)
        assert all(task.charges == 1 for task in emulator.tasks)
        assert emulator.charged["gptge"] <= COUNT
        charged = emulator.charged["gptge"]
        third = await cli(*command)
        assert emulator.charged["gptge"] == charged
        assert f"{len(saved)} done before" in third.out
        assert f"{len(saved)} done ({len(saved)} before)" in third.out
    assert all(
        (tmp_path / "clean" / f"p{index}-clean.jpg").name in saved for index in range(len(saved)) if not in_doubt
    )
    for name in saved:
        original = name.replace("-clean", "")
        assert (tmp_path / "clean" / name).read_bytes() == (tmp_path / original).read_bytes()


@pytest.mark.slow
async def test_a_submission_in_flight_at_the_kill_is_listed_and_sent_again_only_after_it_is_settled(
    cli: Cli, images: list[str], tmp_path: Path
) -> None:
    processing = ProcessingTime(1, 0.0)
    async with Emulator(restore=False, processing=processing) as emulator:
        cli.use_keys_of(emulator)
        emulator.inject(Fault.stalled(after_work=True), "gptge", "submit")
        command = ("remove", "p0.jpg", *WITH_STORE, "--base-url", emulator.base_url)
        await run_and_kill(cli, command, processing.reached)
        again = await cli(*command)
        assert again.code == 1
        assert (
            "1 in doubt: sent, but no usable answer was received; may have been paid, so not sent again:" in again.out
        )
        (job,) = await list_jobs(cli)
        key = str(job["key"])
        assert job["inputs"] == [f"p0.jpg:{(tmp_path / 'p0.jpg').stat().st_size}"]
        assert (job["status"], job["task_id"], job["provider"]) == ("in_doubt", None, "gptge")
        (settle,) = [line for line in again.out.splitlines() if "--unpaid" in line]
        assert emulator.charged["gptge"] == 1
        settled = await cli(*settle.replace("KEY", key).split()[1:])
        assert settled.out.startswith(f"settled    {key}: unpaid. The same `aiowatermark remove` command")
        submitted = await cli(*command)
        assert submitted.code == 0
        assert "taken over" not in submitted.text
        assert emulator.charged["gptge"] == 2
    assert list_names(tmp_path / "clean", hidden=False) == ["p0-clean.jpg"]


@pytest.mark.parametrize(("status", "continues"), [(Status.QUEUED, True), (Status.UPLOADING, False)])
async def test_forgetting_a_video_names_its_token_only_if_the_provider_was_asked_to_start_it(
    cli: Cli, tmp_path: Path, status: Status, continues: bool
) -> None:
    async with aw.SQLiteStore(tmp_path / "jobs.db") as store:
        await store.open(Record("clip-1", "dewatermark", Snapshot("v1", status), video=True))
    forgotten = await cli("jobs", "forget", "clip-1", "--store", "jobs.db")
    assert forgotten.code == 0, forgotten.text
    assert forgotten.out.startswith("forgotten  clip-1")
    assert ("continues at the provider" in forgotten.out) is continues


@pytest.mark.slow
async def test_the_jobs_of_a_stopped_run_are_listed_and_resumed_by_key_and_with_all(
    cli: Cli, images: list[str], tmp_path: Path
) -> None:
    processing = ProcessingTime(4, 1.5)
    async with Emulator(restore=False, processing=processing) as emulator:
        cli.use_keys_of(emulator)
        to_emulator = ("--base-url", emulator.base_url)
        stopped = await cli.start("remove", *images[:4], *WITH_STORE, *to_emulator)
        async with asyncio.timeout(20):
            await processing.reached.wait()
        stopped.process.send_signal(signal.SIGINT)
        finished = await stopped.finish()
        assert "Stopped: 0 done, 4 open, 0 unsent; the same command continues\n" in finished.out
        jobs = await list_jobs(cli)
        assert len(jobs) == 4
        text = await cli("jobs", "--store", "jobs.db", "-v")
        assert all(str(job[name]) in text.out for job in jobs for name in ("key", "task_id", "token"))
        assert "4 running at the provider" in text.out
        one = await cli("resume", str(jobs[0]["key"]), *WITH_STORE, *to_emulator)
        assert one.code == 0, one.text
        rest = await cli("resume", "--all", *WITH_STORE, *to_emulator)
        assert rest.code == 0, rest.text
        assert "3 done" in rest.out
        assert await list_jobs(cli) == []
        nothing = await cli("resume", "--all", *WITH_STORE, *to_emulator)
        assert (nothing.code, nothing.out) == (0, "nothing to resume\n")
        repeated = await cli("remove", *images[:4], *WITH_STORE, *to_emulator)
        assert "4 done (4 before)" in repeated.out
        assert emulator.charged["gptge"] == 4
    assert list_names(tmp_path / "clean", hidden=False) == [f"p{index}-clean.jpg" for index in range(4)]


async def test_a_result_that_is_missing_or_cut_is_fetched_again_and_not_paid_again(
    cli: Cli, to_emulator: list[str], images: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    command = ("remove", "p0.jpg", "p1.jpg", "p2.jpg", *WITH_STORE, *SYNC, *to_emulator[:2])
    assert (await cli(*command)).code == 0
    clean = tmp_path / "clean"
    (clean / "p0-clean.jpg").unlink()
    (clean / "p1-clean.jpg").write_bytes(b"")
    again = await cli(*command)
    assert again.code == 0, again.text
    assert "1 done before, 2 to be saved\n" in again.out
    assert "3 done (1 before)" in again.out
    assert list_names(clean, hidden=False) == ["p0-clean.jpg", "p1-clean.jpg", "p2-clean.jpg"]
    assert (clean / "p1-clean.jpg").read_bytes() == (tmp_path / "p1.jpg").read_bytes()
    assert emulator.charged["gptge"] == 3


@pytest.mark.slow
async def test_another_image_of_the_same_name_and_size_is_another_job(
    cli: Cli, to_emulator: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    for folder, padding in (("a", b"\x01"), ("b", b"\x02")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.jpg").write_bytes(make_jpeg() + padding)
    command = ("remove", "a/one.jpg", "b/one.jpg", *WITH_STORE, *SYNC, *to_emulator[:2])
    assert (await cli(*command)).code == 0
    assert emulator.charged["gptge"] == 2
    assert (await cli(*command, "--option", "sync=1")).code == 0
    assert emulator.charged["gptge"] == 2
    assert (await cli(*command, "--option", "sync=false")).code == 0
    assert emulator.charged["gptge"] == 4
    assert len(list_names(tmp_path / "clean", hidden=False)) == 4


async def test_a_job_that_failed_at_the_provider_is_not_paid_again_automatically(
    cli: Cli, to_emulator: list[str], images: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.failed(), "gptge")
    command = ("remove", "p0.jpg", *WITH_STORE, *SYNC, *to_emulator[:2])
    assert (await cli(*command)).code == 1
    again = await cli(*command)
    assert again.code == 1
    assert "To pay anew for these alone, run" in again.out
    assert emulator.charged["gptge"] == 1
    (forget,) = [line for line in again.out.splitlines() if "jobs forget" in line]
    assert (await cli(*forget.split()[1:])).code == 0
    assert (await cli(*command)).code == 0
    assert emulator.charged["gptge"] == 2


async def test_a_job_that_was_settled_as_paid_is_not_said_to_have_failed(
    cli: Cli, to_emulator: list[str], images: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.dropped_after(), "gptge", "submit")
    command = ("remove", "p0.jpg", *WITH_STORE, *SYNC, *to_emulator[:2])
    assert (await cli(*command)).code == 1
    (job,) = await list_jobs(cli)
    settled = await cli("jobs", "settle", "--store", "jobs.db", str(job["key"]), "--paid")
    assert settled.out.endswith(": paid, its result is lost; not submitted again\n")
    again = await cli(*command)
    assert again.code == 1
    assert again.out.startswith("1 paid and lost\n0 done, 0 failed, 1 paid and lost in ")
    assert f"  p0.jpg  key {job['key']}\n" in again.out
    assert "failed at the provider" not in again.out
    (line,) = (await cli(*command, "--json")).lines
    assert line["status"] == "lost"
    assert emulator.charged["gptge"] == 1


async def test_a_result_that_came_with_the_answer_is_in_the_store_and_is_saved_again(
    cli: Cli, to_emulator: list[str], images: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    command = ("remove", "p0.jpg", "--provider", "dewatermark", *WITH_STORE[2:], *to_emulator[:2])
    assert (await cli(*command)).code == 0
    before = (tmp_path / "clean/p0-clean.jpg").read_bytes()
    (tmp_path / "clean/p0-clean.jpg").unlink()
    assert (await cli(*command)).code == 0
    assert (tmp_path / "clean/p0-clean.jpg").read_bytes() == before
    assert emulator.charged["dewatermark"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("jobs",), 2, "give -o with the output folder of `aiowatermark remove`, or --store"),
        (("jobs", "-o", "none"), 2, "no store exists at none/.aiowatermark/jobs.db"),
        (("jobs", "--store", "none.db"), 2, "no store exists at none.db"),
        (("jobs", "--store", "p0.jpg"), 2, "p0.jpg is not an aiowatermark store"),
        (("jobs", "forget", "key", "--store", "none.db"), 2, "no store exists at none.db"),
        (("remove", "p0.jpg", *WITH_STORE[:4], "--store", "p1.jpg"), 2, "p1.jpg is not an aiowatermark store"),
        (("remove", "p0.jpg", *WITH_STORE[:4], "--store", "http://x"), 2, "redis://"),
        (("resume", *WITH_STORE), 2, "give the tokens or keys of jobs, or --all"),
        (("resume", "key", "--all", *WITH_STORE), 2, "give the tokens or keys of jobs, or --all"),
        (("resume", "--all", *WITH_STORE[:4]), 2, "no store exists at clean/.aiowatermark/jobs.db"),
        (("remove", "p0.jpg", *WITH_STORE, "--no-store"), 2, "--no-store remembers nothing"),
        (("remove", "p0.jpg", *WITH_STORE[:4], "--no-store", "--again"), 2, "--no-store remembers nothing"),
        (
            ("resume", "key", *WITH_STORE[:4]),
            1,
            "'key' is not a token, and keys need a store: give -o with the output folder of `aiowatermark remove`",
        ),
    ],
)
async def test_arguments_that_are_not_valid_are_one_clear_error(  # noqa: PLR0917 - fixtures
    cli: Cli, to_emulator: list[str], images: list[str], arguments: tuple[str, ...], code: int, message: str
) -> None:
    with_base = ("--base-url", to_emulator[1]) if arguments[0] in {"remove", "resume"} else ()
    finished = await cli(*arguments, *with_base)
    assert finished.code == code, finished.text
    assert message in " ".join(finished.text.split())
    assert "Traceback" not in finished.text


async def test_keys_that_the_store_does_not_contain_are_named(
    cli: Cli, to_emulator: list[str], images: list[str]
) -> None:
    command = (*WITH_STORE, *to_emulator[:2])
    assert (await cli("remove", "p0.jpg", *SYNC, *command)).code == 0
    assert (await cli("jobs", "--store", "jobs.db")).out == "The store contains no unfinished jobs.\n"
    forgotten = await cli("jobs", "--store", "jobs.db", "forget", "unknown")
    assert (forgotten.code, forgotten.out) == (1, "")
    advice = "`aiowatermark jobs --store jobs.db -v` lists the keys of unfinished jobs"
    said = f"the store contains no job with the key 'unknown': {advice}\n"
    assert forgotten.err.endswith(said)
    for arguments in (("show", "unknown"), ("settle", "unknown", "--paid"), ("settle", "unknown", "--task-id", "t")):
        assert (await cli("jobs", "--store", "jobs.db", *arguments)).err == f"Error: {said}"
    resumed = await cli("resume", "unknown", *command)
    assert resumed.code == 1
    assert said in resumed.out


def _json_line(finished: Finished) -> dict[str, object]:
    (line,) = finished.out.splitlines()
    parsed: dict[str, object] = json.loads(line)
    return parsed


async def test_json_contains_the_same_key_in_every_run(cli: Cli, to_emulator: list[str], images: list[str]) -> None:
    command = ("remove", "p0.jpg", *WITH_STORE, *SYNC, *to_emulator[:2], "--json")
    first, second = _json_line(await cli(*command)), _json_line(await cli(*command))
    assert first["key"] == second["key"]
    assert second["output"] == "clean/p0-clean.jpg"
    assert second["status"] == "done"


# jobs show, jobs settle, and their guards


@pytest.fixture
async def doubtful_store(tmp_path: Path) -> Path:
    """A store with a job in doubt whose client is gone."""
    path = tmp_path / "jobs.db"
    async with aw.SQLiteStore(path) as store:
        snapshot = Snapshot(None, Status.IN_DOUBT, reason="no answer")
        await store.open(
            Record("order-1", "picwish", snapshot, inputs=("a.jpg:7",), account="shop", owner="gone", epoch=1)
        )
    return path


async def test_a_job_is_shown_with_its_reason_owner_inputs_and_attempts(cli: Cli, doubtful_store: Path) -> None:
    shown = _json_object(await cli("jobs", "--store", str(doubtful_store), "show", "order-1"))
    assert (shown["state"], shown["reason"], shown["owner"]) == ("in doubt", "no answer", "gone")
    assert (shown["inputs"], shown["account"], shown["attempts"]) == (["a.jpg (7 bytes)"], "shop", [])
    unknown = await cli("jobs", "--store", str(doubtful_store), "show", "order-2")
    assert unknown.code == 2
    assert "no job with the key 'order-2'" in unknown.err


@pytest.mark.parametrize(("choice", "state"), [("--unpaid", "unpaid"), ("--paid", "ended")])
async def test_a_job_in_doubt_is_settled_without_an_api_key(
    cli: Cli, doubtful_store: Path, choice: str, state: str
) -> None:
    store = ("--store", str(doubtful_store))
    settled = await cli("jobs", "settle", "order-1", choice, *store)
    assert settled.code == 0, settled.text
    assert settled.out.startswith("settled    order-1")
    assert _json_object(await cli("jobs", *store, "show", "order-1"))["state"] == state
    again = await cli("jobs", "settle", "order-1", choice, *store)
    assert again.code == 2
    assert "is not in doubt" in again.err


async def test_several_jobs_are_settled_at_once_and_none_if_one_is_not_known(cli: Cli, doubtful_store: Path) -> None:
    async with aw.SQLiteStore(doubtful_store) as store:
        snapshot = Snapshot(None, Status.IN_DOUBT, reason="no answer")
        await store.open(Record("order-2", "picwish", snapshot, account="shop", owner="gone", epoch=1))
    where = ("--store", str(doubtful_store))
    advice = (await cli("jobs", *where)).out
    assert f"jobs settle --store {doubtful_store} order-1 order-2 --unpaid\n" in advice
    assert f"jobs settle --store {doubtful_store} order-1 --task-id ID\n" in advice
    assert "check each, and leave out the keys of those that differ" in advice
    refused = await cli("jobs", "settle", "order-1", "order-3", "--paid", *where)
    assert refused.code == 2
    assert [job["state"] for job in (await cli("jobs", *where, "--json")).lines] == ["in doubt"] * 2
    settled = await cli("jobs", "settle", "order-1", "order-2", "--paid", *where)
    assert settled.out == "".join(
        f"settled    order-{number}: paid, its result is lost; not submitted again\n" for number in (1, 2)
    )
    listed = await cli("jobs", *where)
    assert listed.out == "The store contains no unfinished jobs.\n"
    one = await cli("jobs", "settle", "order-1", "order-2", "--task-id", "t", "--provider", "picwish", *where)
    assert (one.code, "give one KEY" in one.err) == (2, True)


async def test_a_job_in_doubt_is_settled_by_its_task_after_one_query(
    cli: Cli, to_emulator: list[str], images: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.dropped_after(), "gptge")
    command = ("remove", "p0.jpg", *WITH_STORE, *to_emulator[:2])
    assert (await cli(*command)).code == 1
    (job,) = await list_jobs(cli)
    key, settle = str(job["key"]), ("jobs", "settle", "--store", "jobs.db", "--provider", "gptge", *to_emulator[:2])
    wrong = await cli(*settle, key, "--task-id", "nobody-knows-it")
    assert wrong.code == 2, wrong.text
    (task,) = emulator.tasks
    settled = await cli(*settle, key, "--task-id", task.task_id)
    assert settled.code == 0, settled.text
    assert (await cli(*command)).code == 0
    assert emulator.charged["gptge"] == 1


@pytest.mark.parametrize("choices", [(), ("--paid", "--unpaid"), ("--task-id", "t")])
async def test_settle_needs_one_choice_and_a_provider_for_a_task(
    cli: Cli, doubtful_store: Path, choices: tuple[str, ...]
) -> None:
    finished = await cli("jobs", "settle", "order-1", *choices, "--store", str(doubtful_store))
    assert finished.code == 2
    assert "Traceback" not in finished.text


async def test_the_job_of_a_living_client_is_neither_settled_nor_forgotten(cli: Cli, doubtful_store: Path) -> None:
    where = ("--store", str(doubtful_store))
    async with aw.SQLiteStore(doubtful_store) as store:
        await store.owners.register("alive")
        await store.open(Record("order-2", "picwish", owner="alive", epoch=1))
        listed = {job["key"]: job["state"] for job in (await cli("jobs", *where, "--json")).lines}
        assert listed == {"order-1": "in doubt", "order-2": "held"}
        for command in (("settle", "order-2", "--unpaid"), ("forget", "order-2")):
            refused = await cli("jobs", *command, *where)
            assert refused.code != 0
            assert "alive" in refused.err
        assert (await cli("jobs", "forget", "order-2", "--force", *where)).code == 0
        await store.owners.unregister("alive")


def _json_object(finished: Finished) -> dict[str, object]:
    assert finished.code == 0, finished.text
    shown: dict[str, object] = json.loads(finished.out)
    return shown
