"""Names of files, keys and tokens, and the URLs of stores, as the command line prints them."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path

import pytest

from aiowatermark.cli.batch.request import BatchRequest
from aiowatermark.cli.console.texts import encodable, mask_password, printable, shown_name
from aiowatermark.emulator import Emulator
from aiowatermark.tokens import Token, encode_token
from tests.support.cli import Cli
from tests.support.images import make_jpeg

HOSTILE_KEYS = ["../../escaped", "/absolute", "a\x1b]0;title\x07b", "x" * 1_000_000, "..", "a\nb\rc", "\u202egpj.exe"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äöü 照片", "plain äöü 照片"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\nb\tc", "a\\nb\\tc"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("\u202egpj", "\\u202egpj"),
    ],
)
def test_a_text_is_shown_on_one_line_without_control_characters(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_long_text_is_cut_in_its_middle() -> None:
    shown = printable(f"begin{'x' * 1_000_000}end", 100)
    assert len(shown) == 100
    assert (shown[:5], shown[-3:]) == ("begin", "end")


def test_the_query_of_a_url_is_not_shown() -> None:
    assert "canary" not in shown_name("https://user:canary@host/a.jpg?signature=canary")


def test_what_an_encoding_does_not_have_is_escaped() -> None:
    class Ascii(StringIO):
        encoding = "ascii"

    assert encodable("照.jpg", Ascii()) == "\\u7167.jpg"
    assert encodable("照.jpg", StringIO()) == "照.jpg"


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("jobs.db", "jobs.db"),
        ("a@b/jobs.db", "a@b/jobs.db"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:canary@host:6379/0", "redis://***@host:6379/0"),
        ("rediss://user:canary@host/0", "rediss://***@host/0"),
        ("redis://:can@ary/canary@host/0", "redis://***@host/0"),
        ("unix://user:canary@/run/redis.sock?db=0", "unix://***@/run/redis.sock?***"),
        ("sentinel://:canary@a:1,b:2/name/0?sentinel_password=canary", "sentinel://***@a:1,b:2/name/0?***"),
    ],
)
def test_the_password_of_a_store_is_masked(location: str, shown: str) -> None:
    assert mask_password(location) == shown
    request = BatchRequest("kaze", "Kaze", Path("out"), None, False, store=location, arguments=["remove", location])
    texts = request.resume_command(["key"]), request.jobs_command("forget", ["key"]), request.same_command()
    assert "canary" not in "".join(texts)


async def test_a_store_that_cannot_be_opened_shows_no_password(cli: Cli, emulator: Emulator, tmp_path: Path) -> None:
    cli.use_keys_of(emulator)
    store = "http://:canary-pw@host/0"
    (tmp_path / "a.jpg").write_bytes(make_jpeg())
    commands = [
        ("remove", "a.jpg", "--provider", "gptge", "-o", "clean", "--store", store),
        ("resume", "--all", "--provider", "gptge", "-o", "clean", "--store", store),
        ("jobs", "--store", store),
    ]
    for command in commands:
        finished = await cli(*command)
        assert finished.code == 2
        assert "canary-pw" not in finished.text


@pytest.mark.slow
@pytest.mark.parametrize("key", HOSTILE_KEYS, ids=range(len(HOSTILE_KEYS)))
async def test_a_token_from_outside_neither_leaves_the_folder_nor_controls_the_terminal(
    cli: Cli, to_emulator: list[str], tmp_path: Path, key: str
) -> None:
    token = encode_token(Token("gptge", key, "task", inputs=(f"{key}:7",)))
    arguments = ["-"] if len(token) > 100_000 else [token]  # the system takes no argument of a megabyte
    finished = await cli("resume", *arguments, *to_emulator, "--provider", "gptge", "--deadline", "0.5", stdin=token)
    assert finished.code == 1
    assert "\x1b" not in finished.text
    assert "\u202e" not in finished.text
    assert len(finished.text) < 5000
    assert [path.name for path in tmp_path.iterdir()] == ["clean"]


@pytest.mark.parametrize("variables", [{"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}])
async def test_a_terminal_that_cannot_print_a_name_gets_an_escaped_one(
    cli: Cli, to_emulator: list[str], tmp_path: Path, variables: dict[str, str]
) -> None:
    (tmp_path / "照片.jpg").write_bytes(make_jpeg())
    cli.env |= {"PYTHONCOERCECLOCALE": "0", **variables}
    finished = await cli(
        "remove", "照片.jpg", "none-é.jpg", *to_emulator, "--provider", "gptge", "--option", "sync=true"
    )
    assert finished.code == 1
    assert "Traceback" not in finished.text
    assert finished.text.isascii()
    assert "1 done, 0 failed, 1 refused" in finished.out
