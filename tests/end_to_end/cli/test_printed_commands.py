"""Every command that `jobs`, `remove`, `resume` and their errors print works as it is printed."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import aiowatermark as aw
from aiowatermark.cli.batch.state_folder import StateFolder
from aiowatermark.emulator import Emulator, Fault
from tests.support.cli import Cli, printed_commands
from tests.support.files import list_names
from tests.support.images import make_jpeg
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

UNREACHABLE = "http://127.0.0.1:1"


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def slow_emulator() -> AsyncIterator[Emulator]:
    """An emulator whose jobs are not done when a program has submitted them."""
    async with Emulator(restore=False, processing=0.3) as emulator:
        yield emulator


def kaze(emulator: Emulator, account: str | None) -> aw.Kaze:
    key = emulator.keys["kaze"]
    assert isinstance(key, str)
    return aw.Kaze(key, base_url=emulator.base_url, account=account)


async def leave_jobs(emulator: Emulator, store: aw.JobStore, account: str | None) -> None:
    """Leave a job in doubt, one at the provider, and one whose result was not taken."""
    async with aw.Client(kaze(emulator, account), store=store, acknowledge="manual") as client:
        emulator.kaze.drop_answer()
        with pytest.raises(aw.SubmissionInDoubt):
            await client.submit(make_jpeg(padding=1), key="in doubt")
        await client.remove(make_jpeg(padding=2), key="--finished")
        await client.submit(make_jpeg(padding=3), key="running")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "account"), [("a folder", "the shop"), ("a file", None), ("Redis with a password", "the shop")]
)
async def test_each_command_that_jobs_prints_works_as_it_is_printed(
    cli: Cli, slow_emulator: Emulator, redis_server: RedisServer, kind: str, account: str | None
) -> None:
    url = f"{redis_server.url}?db=9"
    cli.use_keys_of(slow_emulator)
    state = StateFolder(cli.folder / "a folder")
    store: aw.JobStore
    if kind == "a folder":
        state.output.mkdir()
        state.prepare()
        store, where = aw.SQLiteStore(state.store), ("-o", "a folder")
    elif kind == "a file":
        store, where = aw.SQLiteStore(cli.folder / "my jobs.db"), ("--store", "my jobs.db")
    else:
        store, where = aw.RedisStore(url, lease=0.2), ("--store", url)
    await leave_jobs(slow_emulator, store, account)
    listed = await cli("jobs", *where)
    assert listed.code == 0, listed.text
    assert ("Before that, set STORE_URL" in listed.out) is (kind == "Redis with a password")
    resume, fetch, unpaid, asks, paid = printed_commands(listed.out)
    assert ("--account 'the shop'" in resume) is (account is not None)
    asks = asks.replace("--task-id ID", f"--task-id {slow_emulator.kaze.tasks[0].task_id}")
    settled = await cli.in_shell(asks, STORE_URL=url)
    assert settled.code == 0, settled.text
    for command in (*printed_commands(settled.out), resume, fetch):
        finished = await cli.in_shell(command, STORE_URL=url)
        assert finished.code == 0, (command, finished.text)
    for command in (unpaid, paid):
        refused = await cli.in_shell(command, STORE_URL=url)
        assert refused.code == 2
        assert "is not in doubt: the provider has it as task" in refused.err
        assert (await cli.in_shell(_in_text(refused.err), STORE_URL=url)).code == 0
    folder = cli.folder / ("a folder" if kind == "a folder" else "results")
    assert len(list_names(folder, hidden=False)) == 3
    assert slow_emulator.charged["kaze"] == 3


def _in_text(text: str) -> str:
    """The command in a sentence."""
    (command,) = re.findall("`(aiowatermark [^`]*)`", text)
    return str(command)


@pytest.mark.slow
async def test_the_commands_of_a_run_on_a_store_with_a_password_work_once_the_variable_is_set(
    cli: Cli, emulator: Emulator, photos: list[str], redis_server: RedisServer
) -> None:
    url = f"{redis_server.url}?db=9"
    cli.use_keys_of(emulator)
    emulator.kaze.drop_answer()
    command = ("remove", photos[0], "--provider", "kaze", "--base-url", emulator.base_url, "-o", "clean")
    run = await cli(*command, "--store", url)
    assert "db=9" not in run.text
    assert "Before that, set STORE_URL to the store's URL, unix://" in run.out
    unpaid, *_ = printed_commands(run.out)
    assert '--store "$STORE_URL"' in unpaid
    assert (await cli.in_shell(unpaid, STORE_URL=url)).code == 0
    emulator.inject(Fault.failed(), "kaze")
    failed = await cli(*command, "--store", url)
    forget, *_ = printed_commands(failed.out)
    assert (await cli.in_shell(forget, STORE_URL=url)).code == 0
    assert (await cli(*command, "--store", url)).code == 0


@pytest.mark.slow
async def test_a_wrong_settlement_names_the_way_back_and_that_works(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.kaze.drop_answer()
    command = ("remove", photos[0], "--provider", "kaze", *to_emulator)
    *_, paid = printed_commands((await cli(*command)).out)
    assert (await cli.in_shell(paid)).code == 0
    for choice in ("--unpaid", "--task-id t"):
        again = await cli.in_shell(paid.replace("--paid", choice))
        assert again.code == 2
        assert "is not in doubt: it was settled as paid. If that was wrong, the way back is" in again.err
    assert (await cli.in_shell(_in_text(again.err.replace("`aiowatermark remove`", "")))).code == 0
    assert (await cli(*command)).code == 0
    assert emulator.charged["kaze"] == 2


@pytest.mark.slow
async def test_what_was_settled_as_unpaid_by_mistake_is_settled_by_its_task_with_the_command_that_was_printed(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.kaze.drop_answer()
    command = ("remove", photos[0], "--provider", "kaze", *to_emulator)
    unpaid, asks, _ = printed_commands((await cli(*command)).out)
    assert (await cli.in_shell(unpaid)).code == 0
    again = await cli.in_shell(unpaid)
    assert (again.code, "If that was wrong, settle it otherwise" in again.err) == (2, True)
    wrong = await cli.in_shell(asks)
    assert (wrong.code, "the job stays settled as unpaid" in wrong.err) == (2, True)
    settled = await cli.in_shell(asks.replace("--task-id ID", f"--task-id {emulator.kaze.tasks[0].task_id}"))
    assert settled.code == 0, settled.text
    assert (await cli(*command)).code == 0
    assert emulator.charged["kaze"] == 1


async def leave_in_doubt(emulator: Emulator, folder: Path, account: str | None = None) -> str:
    """Leave a job of a program in doubt; returns the id of its task."""
    async with aw.Client(kaze(emulator, account), store=aw.SQLiteStore(folder / "jobs.db")) as client:
        emulator.kaze.drop_answer()
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(make_jpeg(), key="order-1")
    return emulator.kaze.tasks[-1].task_id


SETTLE = ("jobs", "settle", "order-1", "--store", "jobs.db", "--task-id")


async def test_the_record_knows_the_provider_and_another_address_is_named_with_the_command_that_asks_the_right_one(
    cli: Cli, emulator: Emulator, tmp_path: Path
) -> None:
    task_id = await leave_in_doubt(emulator, tmp_path)
    cli.use_keys_of(emulator)
    wrong = await cli(*SETTLE, task_id)
    assert wrong.code == 2
    assert f"the job was sent to {emulator.base_url} and would be looked for at {aw.Kaze.default_base_url}" in wrong.err
    assert "API key" not in wrong.err
    given = await cli(*SETTLE, task_id, "--base-url", UNREACHABLE)
    assert given.err.endswith(f". It was sent to {emulator.base_url}, and {UNREACHABLE} was asked\n")
    assert (await cli.in_shell(_in_text(wrong.err))).code == 0


async def test_an_address_that_cannot_be_reached_is_not_called_another_api_key(
    cli: Cli, emulator: Emulator, tmp_path: Path
) -> None:
    task_id = await leave_in_doubt(emulator, tmp_path, "shop")
    async with aw.SQLiteStore(tmp_path / "jobs.db") as store:
        record = await store.get("order-1")
        assert record is not None
        assert await store.forget(record)
        # as a version wrote it that did not keep the address
        await store.open(aw.Record("order-1", "kaze", record.snapshot, account="shop", owner=record.owner, epoch=1))
    cli.use_keys_of(emulator)
    wrong = await cli(*SETTLE, task_id, "--base-url", UNREACHABLE)
    assert wrong.code == 2
    assert wrong.err.endswith(f"; the job stays in doubt. Asked was {UNREACHABLE}; --base-url asks another address\n")


@pytest.mark.slow
async def test_after_a_stalled_answer_and_ctrl_c_the_commands_that_settle_the_doubt_are_printed(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.kaze.stall_answer(times=None)
    command = ("remove", *photos[:2], "--provider", "kaze", *to_emulator, "--report", "report.html")
    running = await cli.start(*command)
    await wait_until(lambda: len(emulator.kaze.tasks) == 2)
    running.process.send_signal(signal.SIGINT)
    assert running.process.stderr
    assert b"Stopping" in await running.process.stderr.readline()
    running.process.send_signal(signal.SIGINT)
    stopped = await running.finish()
    assert stopped.code == 1
    unpaid, asks, paid = printed_commands(stopped.out)
    keys = {str(job["key"]) for job in (await cli("jobs", "-o", "clean", "--json")).lines}
    assert len(keys) == 2
    assert all(key in unpaid and key in paid for key in keys)
    (first,) = [key for key in keys if key in asks]
    # one was not paid, and the other was: each is settled with the command of its case, without the other key
    (other,) = keys - {first}
    assert (await cli.in_shell(unpaid.replace(f" {other}", ""))).code == 0
    assert (await cli.in_shell(paid.replace(f" {first}", ""))).code == 0


async def test_a_row_in_doubt_of_the_report_page_has_the_commands_that_settle_it(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.kaze.drop_answer()
    command = ("remove", photos[0], "--provider", "kaze", *to_emulator, "--report", "report.html")
    run = await cli(*command)
    page = (cli.folder / "report.html").read_text(encoding="utf-8")
    assert re.findall('<pre class="command" tabindex="0">(.*?)</pre>', page) == printed_commands(run.out)


async def test_jobs_show_prints_the_address_that_a_job_was_sent_to(
    cli: Cli, emulator: Emulator, tmp_path: Path
) -> None:
    await leave_in_doubt(emulator, tmp_path)
    shown = json.loads((await cli("jobs", "show", "order-1", "--store", "jobs.db")).out)
    assert (shown["base_url"], shown["history"]) == (emulator.base_url, [])
