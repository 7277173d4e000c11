"""What the log says of a job in doubt: commands that work as they are printed, without the password of a store."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import aiowatermark as aw
from aiowatermark import Record
from aiowatermark.observation.advice import SettleAdvice
from aiowatermark.stores import cli_location

RECORD = Record("order-1", "kaze")
USUAL = SettleAdvice("/var/jobs.db")


def test_the_commands_name_the_store_and_the_record_knows_the_provider() -> None:
    assert USUAL.about(RECORD).split("; ") == [
        "aiowatermark jobs settle --store /var/jobs.db order-1 --unpaid",
        "aiowatermark jobs settle --store /var/jobs.db order-1 --task-id ID",
        "aiowatermark jobs settle --store /var/jobs.db order-1 --paid",
    ]


def test_a_store_that_the_command_line_cannot_open_gets_calls_in_python() -> None:
    assert SettleAdvice().about(RECORD).split("; ") == [
        "await client.settle('order-1', task_id='ID')",
        "await client.settle('order-1', paid=True)",
        "await client.settle('order-1', paid=False)",
    ]


@pytest.mark.parametrize("key", ["it's; rm -rf x", "a b", "--paid", "$HOME"])
def test_a_key_stays_one_word_that_is_no_option_and_no_command(key: str) -> None:

    *_, last = SettleAdvice("/a folder/jobs.db").about(Record(key, "kaze")).split("aiowatermark ")
    words = shlex.split(last)
    assert key in words
    assert "/a folder/jobs.db" in words

    if key.startswith("-"):
        assert words[-2:] == ["--", key]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:canary-password@redis:6379/0", "redis://***@redis:6379/0"),
        ("redis://:can@ary/canary@redis/0", "redis://***@redis/0"),
        ("rediss://user:canary-p@ss@redis/1?ssl_cert_reqs=none", "rediss://***@redis/1?***"),
        ("sentinel://:canary@one:26379,two:26379/jobs/0", "sentinel://***@one:26379,two:26379/jobs/0"),
    ],
)
def test_the_password_of_a_store_is_not_shown_and_how_to_give_it_is_said(url: str, shown: str) -> None:
    advice = SettleAdvice(url).about(RECORD)
    assert "canary" not in advice
    assert advice.count('--store "$STORE_URL"') == 3
    assert advice.endswith(f" (set STORE_URL to the store's URL, {shown} in full)")


def test_a_store_without_a_password_is_named() -> None:
    assert "--store redis://redis:6379/0 order-1 --unpaid" in SettleAdvice("redis://redis:6379/0").about(RECORD)


def test_an_address_that_is_not_the_usual_one_is_part_of_the_command_that_asks() -> None:
    unpaid, asks, paid = SettleAdvice("jobs.db", "http://127.0.0.1:8700").about(RECORD).split("; ")
    assert asks.endswith(" order-1 --task-id ID --base-url http://127.0.0.1:8700")
    assert "--base-url" not in unpaid + paid


def test_an_address_with_a_secret_is_left_to_the_variable_that_the_command_reads() -> None:
    advice = SettleAdvice("jobs.db", "https://u:canary@gateway/jobs").about(RECORD)
    assert "--base-url" not in advice
    assert "canary" not in advice
    assert advice.endswith(
        " (set AIOWATERMARK_BASE_URL to the address that it was sent to, https://gateway/jobs in full)"
    )


def test_a_store_tells_the_command_line_where_it_is_in_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli_location(aw.SQLiteStore("jobs.db")) == str(tmp_path / "jobs.db")
    assert cli_location(aw.MemoryStore()) is None
    pytest.importorskip("redis")
    assert cli_location(aw.RedisStore("redis://redis/0")) == "redis://redis/0"
    # the command line has no option for it
    assert cli_location(aw.RedisStore("redis://redis/0", prefix="shop")) is None
