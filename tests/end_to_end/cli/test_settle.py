"""An operator settles a job in doubt: each command that is printed works as it is, and says the truth afterwards."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import aiowatermark as aw
from aiowatermark.cli.batch.state_folder import StateFolder
from aiowatermark.emulator import Emulator
from tests.support.cli import Cli, printed_commands
from tests.support.files import list_names
from tests.support.images import make_jpeg
from tests.support.processes import REPOSITORY
from tests.support.redis_server import RedisServer

STORE = ("--store", "jobs.db")
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
KEY = "order-1"


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def kaze(emulator: Emulator, account: str | None) -> aw.Kaze:
    """An account of the emulator, with a name or without one."""
    (key,) = [key for key in (emulator.keys["kaze"],) if isinstance(key, str)]
    return aw.Kaze(key, base_url=emulator.base_url, account=account)


async def leave_in_doubt(emulator: Emulator, folder: Path, *, account: str | None = "shop", key: str = KEY) -> str:
    """Lose the answer to a paid request of a program; returns the id of its task."""
    async with aw.Client(kaze(emulator, account), store=aw.SQLiteStore(folder / "jobs.db")) as client:
        emulator.kaze.drop_answer()
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(make_jpeg(), key=key)
    return emulator.kaze.tasks[-1].task_id


async def show(cli: Cli, key: str = KEY, *where: str) -> dict[str, Any]:
    finished = await cli("jobs", "show", key, *(where or STORE))
    assert finished.code == 0, finished.text
    shown: dict[str, Any] = json.loads(finished.out)
    return shown


def words_of(command: str) -> list[str]:
    """The words of a command as a shell reads it, without the name of the program."""
    name, *words = shlex.split(command)
    assert name == "aiowatermark"
    return words


def advised_commands(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The commands that the log line of a job in doubt ends with."""
    (line,) = [line.getMessage() for line in caplog.records if getattr(line, "event", "") == "job.in_doubt"]
    return line.partition("then run one of: ")[2].partition(" (set ")[0].split("; ")


@pytest.mark.parametrize("account", ["shop", None])
async def test_a_job_of_a_program_is_settled_by_its_task_and_fetched_with_the_commands_that_are_printed(
    cli: Cli, emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture, account: str | None
) -> None:
    task_id = await leave_in_doubt(emulator, tmp_path, account=account)
    cli.use_keys_of(emulator)
    cli.folder = tmp_path / "elsewhere"
    cli.folder.mkdir()
    (command,) = [command for command in advised_commands(caplog) if "--task-id" in command]
    settled = await cli(*words_of(command.replace("--task-id ID", f"--task-id {task_id}")))
    assert settled.code == 0, settled.text
    first, explanation, _ = settled.out.splitlines()
    assert (first, explanation) == (
        f"settled    {KEY}: accepted as task {task_id}",
        "To fetch its result into the folder `results` (-o names another one), at no further cost:",
    )
    (advice,) = printed_commands(settled.out)
    assert ("--account shop" in advice) == (account is not None)
    fetched = await cli.in_shell(advice)
    assert fetched.code == 0, fetched.text
    assert len(list_names(cli.folder / "results", hidden=False)) == 1
    assert emulator.charged["kaze"] == 1


@pytest.mark.parametrize("choice", ["paid", "unpaid"])
async def test_the_log_line_of_a_doubt_has_commands_that_need_no_api_key(
    cli: Cli, emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture, choice: str
) -> None:
    await leave_in_doubt(emulator, tmp_path)
    cli.folder = tmp_path / "elsewhere"
    cli.folder.mkdir()
    (command,) = [command for command in advised_commands(caplog) if f"--{choice}" in command]
    settled = await cli(*words_of(command))
    assert settled.code == 0, settled.text
    cli.folder = tmp_path
    (note,) = (await show(cli))["history"]
    assert note.endswith(f"operator: settled as {choice}")


@pytest.mark.parametrize(
    ("account", "named"),
    [
        ("shop", "It belongs to the account 'shop', whose API key must be in KAZE_API_KEY"),
        (None, "It was submitted with another API key than that in KAZE_API_KEY"),
    ],
)
async def test_a_key_that_the_provider_refuses_is_answered_with_the_account_that_is_meant(
    cli: Cli, emulator: Emulator, tmp_path: Path, account: str | None, named: str
) -> None:
    task_id = await leave_in_doubt(emulator, tmp_path, account=account)
    cli.env["KAZE_API_KEY"] = "canary-of-another-account"
    to_kaze = ("--provider", "kaze", "--base-url", emulator.base_url)
    refused = await cli("jobs", "settle", KEY, "--task-id", task_id, *to_kaze, *STORE)
    assert refused.code == 2
    assert "KAZE_API_KEY; the job stays in doubt. " in refused.err
    assert named in refused.err
    assert (await show(cli))["state"] == "in doubt"


async def test_a_task_that_is_not_there_leaves_the_job_in_doubt_and_says_so(
    cli: Cli, emulator: Emulator, tmp_path: Path
) -> None:
    task_id = await leave_in_doubt(emulator, tmp_path, account=None)
    cli.use_keys_of(emulator)
    to_kaze = ("--provider", "kaze", "--base-url", emulator.base_url)
    wrong = await cli("jobs", "settle", KEY, "--task-id", "nobody-knows-it", *to_kaze, *STORE)
    assert wrong.code == 2
    assert wrong.err.endswith("(it says: There is no such task.); the job stays in doubt\n")
    other = await cli("jobs", "settle", KEY, "--task-id", task_id, "--provider", "gptge", *STORE)
    assert (other.code, other.err) == (2, "Error: the job 'order-1' is one of kaze: leave out --provider gptge\n")
    (job,) = (await cli("jobs", *STORE, "--json")).lines
    assert (job["v"], type(job["since"]), job["state"], job["history"]) == (1, float, "in doubt", [])


@pytest.mark.slow
async def test_a_job_that_was_settled_as_unpaid_is_said_to_be_that_until_it_is_submitted_again(
    cli: Cli, emulator: Emulator, tmp_path: Path
) -> None:
    await leave_in_doubt(emulator, tmp_path)
    since = (await show(cli))["since"]
    settled = await cli("jobs", "settle", KEY, "--unpaid", *STORE)
    advice = "The same `aiowatermark remove` command, or the program that sent it, submits it again."
    assert settled.out == f"settled    {KEY}: unpaid. {advice}\n"
    listed = await cli("jobs", *STORE)
    assert f"1 settled as unpaid. {advice}\n" in listed.out
    assert "upload" not in listed.out
    shown = await show(cli)
    assert (shown["status"], shown["state"], shown["since"]) == ("uploading", "unpaid", since)
    assert shown["reason"].startswith("settled as unpaid, and not submitted since")
    cli.use_keys_of(emulator)
    to_shop = (*STORE, "--provider", "kaze", "--account", "shop", "-o", "clean")
    resumed = await cli("resume", KEY, *to_shop)
    why = f"was settled as unpaid, so there is no result to fetch. {advice.removesuffix('.')}\n"
    assert (resumed.code, why in resumed.out) == (1, True)
    assert "same key" not in resumed.out
    everything = await cli("resume", "--all", *to_shop)
    assert (everything.code, everything.out) == (0, "nothing to resume\n")
    async with aw.Client(kaze(emulator, "shop"), store=aw.SQLiteStore(tmp_path / "jobs.db")) as client:
        await (await client.remove(make_jpeg(), key=KEY)).read()
    assert emulator.charged["kaze"] == 2
    shown = await show(cli)
    assert (shown["status"], shown["reason"], len(shown["attempts"])) == ("succeeded", None, 2)
    assert shown["history"][0].endswith("operator: settled as unpaid")


async def test_a_job_in_doubt_is_forgotten_only_by_force_and_it_is_said_that_it_may_have_been_paid(
    cli: Cli, emulator: Emulator, tmp_path: Path
) -> None:
    await leave_in_doubt(emulator, tmp_path)
    await leave_in_doubt(emulator, tmp_path, key="order-2")
    kept = await cli("jobs", "forget", KEY, "order-2", *STORE)
    assert (kept.code, kept.out) == (1, "")
    assert kept.err.startswith(
        f"kept       {KEY}: may have been paid: it was sent, and no usable answer was received\n"
    )
    unpaid, _, paid, forget = printed_commands(kept.err)
    assert all(f"{KEY} order-2" in command for command in (unpaid, paid, forget))
    assert forget.endswith(" --force")
    assert (await show(cli))["state"] == "in doubt"
    forgotten = await cli(*words_of(forget))
    assert forgotten.code == 0, forgotten.text
    assert forgotten.out.startswith(f"forgotten  {KEY}\nIt may have been paid: it was sent 2")
    assert forgotten.out.count("the next `aiowatermark remove` of the same file pays again") == 2
    assert (await cli("jobs", *STORE, "--json")).out == ""


@pytest.mark.parametrize("status", [aw.Status.RUNNING, aw.Status.SUCCEEDED])
async def test_forgetting_a_job_that_is_paid_says_so_and_how_its_result_is_fetched(
    cli: Cli, tmp_path: Path, status: aw.Status
) -> None:
    async with aw.SQLiteStore(tmp_path / "jobs.db") as store:
        await store.open(aw.Record(KEY, "kaze", aw.Snapshot("t1", status)))
    forgotten = await cli("jobs", "forget", KEY, *STORE)
    assert forgotten.code == 0, forgotten.text
    assert "It is paid, and the next `aiowatermark remove` of the same file pays again." in forgotten.out
    (resume,) = printed_commands(forgotten.out)
    assert words_of(resume)[:3] == ["resume", "--provider", "kaze"]


@pytest.mark.slow
@pytest.mark.parametrize("by", ["key", "token", "all"])
async def test_a_resumed_job_is_called_by_the_name_of_its_input(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, by: str
) -> None:
    emulator.kaze.drop_answer()
    command = ("remove", photos[0], "--provider", "kaze", *to_emulator)
    assert (await cli(*command)).code == 1
    async with aw.SQLiteStore(StateFolder(cli.folder / "clean").store) as store:
        (record,) = [record async for record in store.unfinished()]
        assert await store.forget(record)
        running = aw.Snapshot(emulator.kaze.tasks[0].task_id, aw.Status.RUNNING)
        await store.open(record := evolve(record, snapshot=running))
    key, what = record.key, {"key": record.key, "token": record.token, "all": "--all"}[by]
    resumed = await cli("resume", what, "--provider", "kaze", *to_emulator)
    assert resumed.code == 0, resumed.text
    assert f"done  {photos[0]} -> clean/one-clean.jpg" in resumed.out
    assert key not in resumed.out


@pytest.mark.parametrize("how", ["paid", "unpaid", "task"])
async def test_the_record_keeps_who_settled_it_when_and_as_what_in_local_time(
    cli: Cli, emulator: Emulator, tmp_path: Path, how: str
) -> None:
    task_id = await leave_in_doubt(emulator, tmp_path)
    async with aw.Client(kaze(emulator, "shop"), store=aw.SQLiteStore(tmp_path / "jobs.db")) as client:
        if how == "task":
            await client.settle(KEY, task_id=task_id)
        else:
            await client.settle(KEY, paid=how == "paid")
    cli.env["TZ"] = "XYZ-09:30"
    shown = await show(cli)
    outcome = f"task {re.escape(task_id)}" if how == "task" else how
    assert len(shown["history"]) == 1
    assert re.fullmatch(rf"{TIME}\+09:30 operator: settled as {outcome}", shown["history"][0])
    times = [shown["since"], shown["attempts"][0]["at"], *([shown["accepted_at"]] if how == "task" else [])]
    assert all(re.fullmatch(rf"{TIME}\+09:30", time) for time in times)
    assert shown["v"] == 2


async def test_the_commands_for_a_redis_with_a_secret_in_its_url_work_once_the_url_is_in_the_variable(
    cli: Cli, emulator: Emulator, caplog: pytest.LogCaptureFixture, redis_server: RedisServer
) -> None:
    url = f"{redis_server.url}?db=9"
    async with aw.Client(kaze(emulator, "shop"), store=aw.RedisStore(url, lease=0.2)) as client:
        emulator.kaze.drop_answer()
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(make_jpeg(), key=KEY)
    cli.use_keys_of(emulator)

    (command,) = [command for command in advised_commands(caplog) if "--task-id" in command]
    command = command.replace("--task-id ID", f"--task-id {emulator.kaze.tasks[0].task_id}")
    settled = await cli.in_shell(command, STORE_URL=url)
    assert settled.code == 0, settled.text
    (advice,) = printed_commands(settled.out)
    assert "\nBefore that, set STORE_URL to the store's URL, unix://" in settled.out
    assert "db=9" not in settled.out
    fetched = await cli.in_shell(advice, STORE_URL=url)
    assert fetched.code == 0, fetched.text


@pytest.mark.slow
async def test_the_commands_of_the_page_for_operators_work_as_they_are_written(
    cli: Cli, emulator: Emulator, photos: list[str]
) -> None:
    cli.use_keys_of(emulator)
    cli.env["AIOWATERMARK_BASE_URL"] = emulator.base_url
    emulator.kaze.drop_answer(times=3)
    command = ("remove", *photos, "--provider", "kaze", "-o", "clean")
    assert (await cli(*command)).code == 1
    charged = {task.task_id for task in emulator.kaze.tasks}
    assert len(charged) == 3
    text = (REPOSITORY / "docs/on-call.md").read_text()
    (block,) = re.findall(r"^## Jobs in doubt\n\n```\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    keys = [str(job["key"]) for job in (await cli("jobs", "-o", "clean", "--json")).lines]
    settled = iter(keys)
    for line in block.splitlines():
        key = next(settled) if "settle" in line else keys[0]
        words = [{"KEY": key, "ID": min(charged), "NAME": "kaze"}.get(word, word) for word in words_of(_code(line))]
        finished = await cli(*words)
        assert finished.code == 0, (line, finished.text)
    again = await cli(*command)
    assert "2 done" in again.out
    assert "1 paid and lost" in again.out
    assert emulator.charged["kaze"] == 4


@pytest.mark.slow
async def test_a_run_prints_commands_that_settle_and_fetch_with_an_address_that_was_given(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.kaze.drop_answer()
    run = await cli("remove", photos[0], "--provider", "kaze", *to_emulator)
    (task,) = emulator.kaze.tasks
    (settle,) = [line for line in run.out.splitlines() if "--task-id" in line]
    settled = await cli(*words_of(settle.replace("--task-id ID", f"--task-id {task.task_id}")))
    assert settled.code == 0, settled.text
    fetched = await cli(*words_of(settled.out.splitlines()[-1]))
    assert fetched.code == 0, fetched.text
    assert list_names(cli.folder / "clean", hidden=False) == ["one-clean.jpg"]


def _code(line: str) -> str:
    """A line of a code block without its comment."""
    return re.sub(r"\s#\s.*", "", line)
