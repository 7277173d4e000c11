"""What was done under another API key, account name or base URL is not paid again, and the command says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import aiowatermark as aw
from aiowatermark import Kaze
from aiowatermark.cli.batch.items import BatchItem, Plan
from aiowatermark.cli.batch.manifest import Work
from aiowatermark.cli.batch.output_folder import OutputFolder
from aiowatermark.cli.batch.planning.elsewhere import find_elsewhere
from aiowatermark.cli.batch.state_folder import StateFolder
from aiowatermark.emulator import Emulator, Fault
from aiowatermark.jobs import Record, Snapshot, Status
from tests.support.cli import Cli, printed_commands
from tests.support.files import list_names
from tests.support.images import make_jpeg

SYNC = ("--provider", "gptge", "--option", "sync=true")
KEPT = "2 of these were done here {}: the results are kept; --again pays anew for all {} files"
UNNAMED = "under another account (without --account)"


@pytest.mark.slow
async def test_naming_the_account_later_pays_nothing_again_and_says_so(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    command = ("remove", *SYNC, *to_emulator)
    assert (await cli(*command, *photos[:2])).code == 0
    dry = await cli(*command, *photos, "--account", "shop", "--dry-run")
    assert dry.out.splitlines()[:2] == ["Dry run: 2 done before, 1 new", KEPT.format(UNNAMED, 3)]
    named = await cli(*command, *photos, "--account", "shop")
    assert named.out.splitlines()[:2] == ["2 done before, 1 new at gpt.ge", KEPT.format(UNNAMED, 3)]
    assert emulator.charged["gptge"] == 3
    back = await cli(*command, photos[2])
    kept = "under another account (--account shop): the result is kept; --again pays anew for it"
    assert f"1 of these was done here {kept}\n" in back.out
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
        assert finished.out.splitlines()[:2] == [
            "1 done before, 1 to be saved",
            KEPT.format(f"at another address ({emulator.base_url})", 2),
        ]
        assert not any(other.charged.values())
    assert list_names(tmp_path / "clean", hidden=False) == ["copy-clean.jpg", "one-clean.jpg"]


# open jobs of another account


def kaze(emulator: Emulator, account: str | None) -> aw.Kaze:
    """An account of the emulator, with a name or without one."""
    key = emulator.keys["kaze"]
    assert isinstance(key, str)
    return aw.Kaze(key, base_url=emulator.base_url, account=account)


async def leave_open(
    emulator: Emulator, folder: Path, count: int = 2, *, account: str | None = None, in_doubt: int = 0
) -> list[aw.JobHandle]:
    """Submit jobs of a program that ends before they do, on the store of an output folder."""
    state = StateFolder(folder / "clean")
    state.output.mkdir(exist_ok=True)
    state.prepare()
    async with aw.Client(kaze(emulator, account), store=aw.SQLiteStore(state.store)) as client:
        for number in range(in_doubt):
            emulator.kaze.drop_answer()
            with pytest.raises(aw.SubmissionInDoubt):
                await client.submit(make_jpeg(padding=number), key=f"doubt-{number}")
        return [await client.submit(make_jpeg(padding=9 + number), key=f"job-{number}") for number in range(count)]


@pytest.fixture
async def slow_emulator() -> AsyncIterator[Emulator]:
    """An emulator whose jobs are not done when a program has submitted them."""
    async with Emulator(restore=False, processing=0.5) as emulator:
        yield emulator


TO_KAZE = ("--provider", "kaze", "-o", "clean")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("account", "with_address", "named"),
    [
        ("shop", True, "another account (--account shop)."),
        (None, True, "another account (another API key)."),
        (None, False, "another address (http://127.0.0.1:"),
    ],
    ids=["a name", "another key", "another address"],
)
async def test_open_jobs_of_another_account_are_counted_and_the_command_that_is_printed_fetches_them(  # noqa: PLR0917
    cli: Cli, slow_emulator: Emulator, tmp_path: Path, account: str | None, with_address: bool, named: str
) -> None:
    await leave_open(slow_emulator, tmp_path, account=account)
    cli.use_keys_of(slow_emulator)
    right_key = cli.env["KAZE_API_KEY"]
    if account is None and with_address:
        cli.env["KAZE_API_KEY"] = "another-key-of-this-account"
    address = ("--base-url", slow_emulator.base_url) if with_address else ()
    nothing = await cli("resume", "--all", *TO_KAZE, *address)
    assert nothing.code == 1, nothing.text
    first, *lines = nothing.out.splitlines()
    assert first == "nothing to resume for this account"
    assert lines[0].startswith(f"2 open jobs belong to {named}")
    assert "with the API key of that account in KAZE_API_KEY" in lines[1]
    (command,) = printed_commands(nothing.out)
    cli.env["KAZE_API_KEY"] = right_key
    fetched = await cli.in_shell(command)
    assert fetched.code == 0, fetched.text
    assert len(list_names(tmp_path / "clean", hidden=False)) == slow_emulator.charged["kaze"] == 2
    assert (await cli.in_shell(command)).out == "nothing to resume\n"


async def test_with_json_they_are_said_on_stderr(cli: Cli, slow_emulator: Emulator, tmp_path: Path) -> None:
    await leave_open(slow_emulator, tmp_path, account="shop")
    cli.use_keys_of(slow_emulator)
    nothing = await cli("resume", "--all", *TO_KAZE, "--json")
    assert (nothing.code, nothing.out) == (1, "")
    assert len(printed_commands(nothing.err)) == 1


async def test_open_jobs_of_another_provider_are_said_and_are_no_failure(
    cli: Cli, slow_emulator: Emulator, tmp_path: Path
) -> None:
    await leave_open(slow_emulator, tmp_path, account="shop")
    cli.use_keys_of(slow_emulator)
    nothing = await cli("resume", "--all", "--provider", "gptge", "-o", "clean")
    assert nothing.code == 0, nothing.text
    assert "2 open jobs belong to another provider (Kaze).\n" in nothing.out


async def test_jobs_that_a_living_client_works_on_and_those_that_were_not_paid_are_left_out(
    cli: Cli, to_emulator: list[str], tmp_path: Path
) -> None:
    async with aw.SQLiteStore(tmp_path / "jobs.db") as store:
        await store.owners.register("alive")
        for key, owner, status in (("a", "alive", Status.RUNNING), ("b", "gone", Status.UPLOADING)):
            await store.open(Record(key, "kaze", Snapshot("t", status), account="shop", owner=owner, epoch=1))
        command = ("resume", "--all", *TO_KAZE, "--store", "jobs.db", *to_emulator[:2])
        nothing = await cli(*command)
        await store.owners.unregister("alive")
    assert (nothing.code, nothing.out) == (0, "nothing to resume\n")


@pytest.mark.slow
@pytest.mark.parametrize("by", ["key", "token"])
async def test_single_jobs_of_another_account_are_left_alone_and_one_command_fetches_them(
    cli: Cli, slow_emulator: Emulator, tmp_path: Path, by: str
) -> None:
    handles = await leave_open(slow_emulator, tmp_path, 3, account="shop")
    cli.use_keys_of(slow_emulator)
    words = [handle.token if by == "token" else handle.key for handle in handles[:2]]
    refused = await cli("resume", *words, *TO_KAZE, "--base-url", slow_emulator.base_url)
    assert refused.code == 1
    assert "2 were sent under another account (--account shop), and their results are not here: " in refused.out
    assert "account=" not in refused.out
    (command,) = printed_commands(refused.out)
    fetched = await cli.in_shell(command)
    assert fetched.code == 0, fetched.text
    assert slow_emulator.charged["kaze"] == 3


@pytest.mark.parametrize("by", ["variable", "option"])
async def test_a_token_of_another_provider_is_answered_with_the_command_for_that_one(
    cli: Cli, slow_emulator: Emulator, tmp_path: Path, by: str
) -> None:
    (handle,) = await leave_open(slow_emulator, tmp_path, 1)
    cli.use_keys_of(slow_emulator)
    address = ["--base-url", slow_emulator.base_url] if by == "option" else []
    if by == "variable":
        cli.env["AIOWATERMARK_BASE_URL"] = slow_emulator.base_url
    refused = await cli("resume", handle.token, "--provider", "gptge", "-o", "elsewhere", *address)
    assert refused.code == 1
    (command,) = printed_commands(refused.out)
    assert command.split() == [
        *("aiowatermark", "resume", "--provider", "kaze", "-o", "elsewhere", *address),
        handle.token,
    ]


async def test_a_job_in_doubt_of_another_account_is_counted_with_the_command_that_says_what_to_do(
    cli: Cli, slow_emulator: Emulator, tmp_path: Path
) -> None:
    await leave_open(slow_emulator, tmp_path, 0, account="shop", in_doubt=1)
    cli.use_keys_of(slow_emulator)
    nothing = await cli("resume", "--all", *TO_KAZE)
    assert nothing.code == 1
    assert nothing.out.splitlines()[1:] == [
        f"1 open job belongs to another address (http://127.0.0.1:{slow_emulator.base_url.rpartition(':')[2]}).",
        "It may have been paid, and no usable answer was received. This says what to do:",
        "  aiowatermark jobs -o clean",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("finished", [True, False])
async def test_files_that_another_account_has_sent_are_refused_once_with_a_command_that_fetches_them(
    cli: Cli, slow_emulator: Emulator, photos: list[str], finished: bool
) -> None:
    cli.use_keys_of(slow_emulator)
    command = ("remove", *TO_KAZE, "--base-url", slow_emulator.base_url)
    assert (await cli(*command, *photos, "--deadline", "0.2")).code == 1
    if finished:
        store = aw.SQLiteStore(StateFolder(cli.folder / "clean").store)
        async with aw.Client(kaze(slow_emulator, None), store=store, acknowledge="manual") as client:
            for handle in (await client.recover()).resumed:
                await handle
    told: list[list[str]] = []
    for arguments, stdin in ((photos, ""), (["-"], "\n".join(photos)), ([*photos, "--dry-run"], "")):
        refused = await cli(*command, *arguments, "--account", "shop", stdin=stdin)
        assert refused.code == 1, refused.text
        lines = refused.out.splitlines()
        (start,) = [number for number, line in enumerate(lines) if "under another account" in line]
        assert lines[start].startswith(
            "3 were sent under another account (without --account), and their results are not "
        )
        assert all(photo in lines[start] for photo in photos)
        assert not any("KEY " in line or "DIR" in line for line in lines)
        assert lines[start + 3] == "--again pays anew for all 3 files, under this account."
        told.append(printed_commands(refused.out))
    assert len({len(each) for each in told}) == 1
    fetched = await cli.in_shell(told[0][0])
    assert fetched.code == 0, fetched.text
    assert len(list_names(cli.folder / "clean", hidden=False)) == slow_emulator.charged["kaze"] == 3


@pytest.mark.slow
async def test_lines_of_stdin_that_another_account_has_done_are_counted_at_the_end(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    command = ("remove", *SYNC, *to_emulator)
    assert (await cli(*command, *photos[:2])).code == 0
    named = await cli(*command, "-", "--account", "shop", stdin="\n".join(photos))
    assert named.code == 0, named.text
    assert KEPT.format(UNNAMED, 3) in named.out.splitlines()
    assert emulator.charged["gptge"] == 3


@pytest.mark.parametrize(("base_url", "plan"), [("https://api.kaze.ai", Plan.NEW), ("http://127.0.0.1:1", Plan.DONE)])
async def test_results_of_an_emulator_do_not_count_for_a_provider(tmp_path: Path, base_url: str, plan: Plan) -> None:
    outputs = OutputFolder(tmp_path, uses_manifest=True)
    outputs.prepare()
    (tmp_path / "download").write_bytes(b"result")
    assert outputs.manifest is not None
    item = BatchItem("a.jpg", "a.jpg")
    outputs._move_into_place(tmp_path / "download", "earlier", item.identity, item.target)
    await outputs.note_work(Work("content", "earlier", "kaze-1", "http://localhost:8700"))
    provider = Kaze("a-key", base_url=base_url)
    work = Work("content", "now", provider.account, base_url)
    assert await find_elsewhere(item, work, outputs, None, provider) is plan
    outputs.close()


@pytest.mark.slow
@pytest.mark.parametrize("from_stdin", [False, True], ids=["files", "stdin"])
async def test_a_job_that_was_settled_as_paid_under_another_account_is_not_paid_again_without_again(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, from_stdin: bool
) -> None:
    photo = photos[0]
    arguments, stdin = (["-"], photo) if from_stdin else ([photo], "")
    command = ("remove", *arguments, *SYNC, *to_emulator)
    emulator.inject(Fault.dropped_after(), "gptge", "submit")
    assert (await cli(*command, stdin=stdin)).code == 1
    (job,) = (await cli("jobs", "-o", "clean", "--json")).lines
    assert (await cli("jobs", "settle", "-o", "clean", str(job["key"]), "--paid")).code == 0
    dry = await cli(*command, "--account", "shop", "--dry-run", stdin=stdin)
    assert dry.out.splitlines()[0] == "Dry run: 1 paid and lost"
    lost = await cli(*command, "--account", "shop", stdin=stdin)
    assert lost.code == 1
    assert "0 done, 0 failed, 1 paid and lost in " in lost.out
    assert (
        f"1 settled as paid: the result cannot be fetched, and it is not submitted again:\n  {photo}  key " in lost.out
    )
    (line,) = (await cli(*command, "--account", "shop", "--json", stdin=stdin)).lines
    assert (line["status"], line["error"]) == ("lost", "settled as paid: its result is lost")
    assert emulator.charged["gptge"] == 1
    assert printed_commands(lost.out)[0].endswith(str(job["key"]))
    again = await cli(*command, "--account", "shop", "--again", stdin=stdin)
    assert again.code == 0, again.text
    assert emulator.charged["gptge"] == 2
