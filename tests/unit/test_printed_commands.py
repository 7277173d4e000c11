"""Commands that texts name: each is one line for a shell, whatever the names in it contain, and shows no secret."""

from __future__ import annotations

import os
import shlex
import subprocess
import time

import pytest

import aiowatermark as aw
from aiowatermark import Record, Snapshot, Status
from aiowatermark.cli.advice.accounts import account_of_record, describe_account
from aiowatermark.cli.advice.job_states import State
from aiowatermark.cli.advice.listed_jobs import JobAdvice
from aiowatermark.cli.advice.other_accounts import MAX_KEYS, JobsElsewhere, OtherAccount
from aiowatermark.cli.advice.settlements import settlement_lines
from aiowatermark.environment import BASE_URL_VARIABLE
from aiowatermark.ledger import Attempt
from aiowatermark.observation.commands import (
    AccountOptions,
    Commands,
    address_of,
    labels_of_address,
    quote,
)

GATEWAY = "https://gateway.example/kaze"


@pytest.fixture(autouse=True)
def no_keys_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.endswith(("_KEY", "_SECRET", "_BASE_URL")):
            monkeypatch.delenv(name)


def arguments_in_shell(command: str, **variables: str) -> list[str]:
    """What a program gets from a shell that executes this command."""
    script = f"aiowatermark() {{ printf '%s\\0' \"$@\"; }}; {command}"
    done = subprocess.run(["bash", "-c", script], check=True, capture_output=True, env={**os.environ, **variables})
    return os.fsdecode(done.stdout).split("\0")[:-1]


@pytest.mark.parametrize(
    "word", ["a b", "it's", "$HOME", "`id`", "é", "a\nb", "\x1b[31m", "\udcff.jpg", "\\n'\x07", ""]
)
def test_any_text_is_one_word_of_a_shell_in_printable_characters(word: str) -> None:
    assert quote(word).isprintable()
    assert arguments_in_shell(f"aiowatermark {quote(word)}") == [word]


@pytest.mark.parametrize("key", ["--all", "-", "a b; rm x"])
def test_a_key_is_never_taken_for_an_option(key: str) -> None:
    commands = Commands("jobs.db", "out")
    account = AccountOptions("kaze", "the shop", GATEWAY)
    for command in (
        commands.resume(account, [key]),
        commands.forget([key]),
        *commands.settlements([key], account).values(),
    ):
        words = arguments_in_shell(command)
        assert words[-2:] == ["--", key] if key.startswith("-") else key in words
        assert words[words.index("--store") + 1] == "jobs.db"


def test_a_store_with_a_password_is_a_variable_that_the_note_says_to_set() -> None:
    url = "redis://:canary@host/0"
    commands = Commands(url, "out")
    command = commands.resume(AccountOptions("kaze"), [])
    assert "canary" not in command + commands.note
    assert commands.note == "set STORE_URL to the store's URL, redis://***@host/0 in full"
    words = arguments_in_shell(command, STORE_URL=url)
    assert words[words.index("--store") + 1] == url


def test_a_record_keeps_the_address_of_its_job_if_it_is_not_the_usual_one_and_no_secret() -> None:
    usual = aw.Kaze.default_base_url
    assert labels_of_address(usual, usual) == {}
    assert address_of(Record("k", "kaze", labels=labels_of_address(GATEWAY, usual))) == GATEWAY
    secret = "https://gateway.example/sk-CaNaRy0123456789CaNaRy0123456789/kaze"
    kept = address_of(Record("k", "kaze", labels=labels_of_address(secret, usual)))
    assert kept == "https://gateway.example/…/kaze"
    account = AccountOptions("kaze", base_url=kept)
    assert account.words == []
    assert account.note.startswith("set AIOWATERMARK_BASE_URL to the address")
    assert BASE_URL_VARIABLE in account.note


@pytest.mark.parametrize(
    ("account", "label", "key", "words"),
    [
        ("shop", None, None, "--account shop"),
        ("the shop", None, "another", "--account 'the shop'"),
        ("shop", GATEWAY, None, f"--account shop --base-url {GATEWAY}"),
        ("", GATEWAY, None, f"--base-url {GATEWAY}"),
        (aw.Kaze("mine").account, None, None, ""),
        (aw.Kaze("mine").account, None, "mine", ""),
        (aw.Kaze("mine").account, None, "another", f"--account {aw.Kaze('mine').account}"),
        (aw.Kaze("mine", base_url=GATEWAY).account, GATEWAY, "mine", f"--base-url {GATEWAY}"),
    ],
)
def test_a_command_names_the_account_unless_the_key_in_the_environment_finds_it(
    monkeypatch: pytest.MonkeyPatch, account: str, label: str | None, key: str | None, words: str
) -> None:
    if key is not None:
        monkeypatch.setenv("KAZE_API_KEY", key)
    record = Record("k", "kaze", account=account, labels={} if label is None else {"base_url": label})
    assert " ".join(account_of_record(record).words) == words


def test_a_command_names_the_address_unless_the_environment_does(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere, usual = Record("k", "kaze", labels={"base_url": GATEWAY}), Record("k", "kaze")
    monkeypatch.setenv(BASE_URL_VARIABLE, f"{GATEWAY}/")
    assert account_of_record(elsewhere).base_url is None
    assert account_of_record(usual).base_url == aw.Kaze.default_base_url


def test_the_provider_of_a_package_that_is_not_installed_is_named_by_its_name() -> None:
    record = Record("k", "unknown-vendor", account="shop")
    assert account_of_record(record) == AccountOptions("unknown-vendor", "shop")
    assert describe_account(record, aw.Kaze("key")) == "another provider (unknown-vendor)"


def running(number: int, account: str = "shop") -> Record:
    return Record(f"job-{number}", "kaze", Snapshot(f"t-{number}", Status.RUNNING), account=account)


@pytest.mark.parametrize("state", [State.RUNNING, State.FINISHED, State.IN_DOUBT])
def test_jobs_of_several_accounts_get_a_command_each_and_none_has_a_placeholder(state: State) -> None:
    advice = JobAdvice(Commands(folder="clean"))
    for number in range(100):
        advice.add(running(number, ("shop", "agency")[number % 2]), state, f"{number}.jpg")
    lines = list(advice.lines())
    commands = [shlex.split(line) for line in lines if line.startswith("  aiowatermark")]
    assert not any({"KEY", "NAME", "DIR"} & set(words) for words in commands)
    assert max(len(words) for words in commands) < MAX_KEYS + 15
    if state is not State.IN_DOUBT:
        assert [words[words.index("--account") + 1] for words in commands] == ["shop", "agency"]
    if state is State.FINISHED:
        assert lines.count("These are the first 20 of 50; then `jobs` names the others.") == 2


def test_several_doubts_are_settled_with_one_command_for_each_case_and_each_is_to_be_checked() -> None:
    jobs = [("a.jpg", "key-1"), ("b.jpg", "key-2"), ("c.jpg", "key-3")]
    account, commands = AccountOptions("kaze", "shop", GATEWAY), Commands(folder="clean")
    lines = list(settlement_lines(jobs, account, commands))
    assert lines == [
        "One may have been paid and another not: check each, and leave out the keys of those that differ.",
        "Those that are not there:",
        "  aiowatermark jobs settle -o clean key-1 key-2 key-3 --unpaid",
        "One that has a task id there, each by itself (here a.jpg):",
        f"  aiowatermark jobs settle -o clean key-1 --task-id ID --base-url {GATEWAY}",
        "Those that were paid and have no task id:",
        "  aiowatermark jobs settle -o clean key-1 key-2 key-3 --paid",
    ]


def test_a_job_of_two_inputs_is_settled_and_deleted_once() -> None:
    jobs, commands = [("a.jpg", "key-1"), ("copy.jpg", "key-1")], Commands(folder="clean")
    assert list(settlement_lines(jobs, AccountOptions("kaze"), commands))[:2] == [
        "If it is not there:",
        "  aiowatermark jobs settle -o clean key-1 --unpaid",
    ]
    assert commands.forget([key for _, key in jobs]) == "aiowatermark jobs forget -o clean key-1"


def test_of_many_doubts_the_commands_name_as_many_keys_as_can_be_read() -> None:
    jobs = [(f"{number}.jpg", f"key-{number}") for number in range(100)]
    unpaid, asks, paid, listed = [
        line.split()
        for line in settlement_lines(jobs, AccountOptions("kaze"), Commands(folder="clean"))
        if line.startswith("  ")
    ]
    assert len(unpaid) == len(paid) == len(["aiowatermark", "jobs", "settle", "-o", "clean", "--unpaid"]) + MAX_KEYS
    assert [word for word in asks if word.startswith("key-")] == ["key-0"]
    assert listed[-1] == "-v"


def test_a_folder_for_results_that_nobody_named_is_said_to_be_an_example() -> None:
    for commands, said in ((Commands("jobs.db"), True), (Commands("jobs.db", "out"), False), (Commands(), True)):
        advice = JobAdvice(commands)
        advice.add(running(1), State.RUNNING, "1.jpg")
        headline, command = advice.lines()
        assert ("into the folder `results` (-o names another one)" in headline) is said
        assert ("-o results" in command) is said


def test_a_job_in_doubt_is_listed_with_the_time_by_which_it_is_found_at_the_provider(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    advice = JobAdvice(Commands(folder="clean"))
    record = Record("k", "kaze", created_at=5e8, attempts=(Attempt(6e8, "a", "not accepted"), Attempt(1e9, "a")))
    advice.add(record, State.IN_DOUBT, "a.jpg")
    advice.add(Record("other", "kaze"), State.IN_DOUBT, "of an earlier version.jpg")
    lines = list(advice.lines())
    monkeypatch.undo()
    time.tzset()
    assert lines[1] == "  a.jpg  sent 2001-09-09T10:46:40+09:00"
    assert not any("of an earlier version.jpg" in line for line in lines)


def test_of_many_jobs_elsewhere_a_few_are_named_and_one_command_fetches_as_many_as_it_can() -> None:
    account = OtherAccount(AccountOptions("kaze", "shop"), "another account (--account shop)")
    found = JobsElsewhere()
    for number in range(1000):
        found.add(Record(f"job-{number}", "kaze", Snapshot("t", Status.SUCCEEDED)), account, f"{number}.jpg")
    first, second, command, last = found.describe(
        Commands(folder="clean"), again="--again pays anew for all 1000 files"
    )
    assert first.startswith("1000 were sent under another account (--account shop), and their results are not here: ")
    assert first.endswith(": 0.jpg, 1.jpg, 2.jpg and 997 more.")
    assert second.startswith("To fetch the results (the first 20), at no further cost")
    assert command.split()[-1] == "job-19"
    assert last == "--again pays anew for all 1000 files, under this account."


def test_the_same_job_under_two_names_is_named_once_in_the_command_and_urls_show_no_signature() -> None:
    account = OtherAccount(AccountOptions("kaze", "shop"), "another account (--account shop)")
    found = JobsElsewhere()
    for name in ("a.jpg", "https://host/b.jpg?signature=canary"):
        found.add(Record("job-1", "kaze", Snapshot("t", Status.SUCCEEDED)), account, name)
    first, _, command = found.describe(Commands(folder="clean"))
    assert first.startswith("2 were sent ")
    assert "canary" not in first
    assert command.split().count("job-1") == 1


def test_of_many_accounts_a_few_are_named() -> None:
    found = JobsElsewhere()
    for number in range(100):
        account = OtherAccount(AccountOptions("kaze", f"shop-{number}"), f"another account (--account shop-{number})")
        found.add(running(number, f"shop-{number}"), account)
    lines = list(found.describe(Commands(folder="clean")))
    assert lines[-2:] == ["95 more belong to 95 further accounts; this lists all:", "  aiowatermark jobs -o clean -v"]
    assert len(lines) == 17
