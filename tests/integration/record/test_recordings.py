"""Recording every path of every provider from the emulator: cassettes that play, findings, no secret in any file."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from aiowatermark import WatermarkError, provider_class
from aiowatermark.cli.record.paths import PATHS, paths_of
from aiowatermark.cli.record.session import RecordingSession
from aiowatermark.emulator import CallbackScript, Emulator, Fault, pictures
from aiowatermark.provider import Credits
from aiowatermark.stores.sqlite.store import SQLiteStore
from tests.support.cassettes import as_fields, play
from tests.support.recordings import collect_links, find_secrets, record_provider

NAMES = sorted(PATHS)
SECRETS_IN_FILES = ("*.json", "*.report.txt")


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """The five APIs with random keys, as real ones are."""
    async with Emulator(restore=False, processing=0.05) as running:
        yield running


def hosted(emulator: Emulator) -> list[str]:
    return [emulator.host(pictures.sample_photo(640, 480, seed=seed), f"private-{seed}.jpg") for seed in (1, 2)]


def keys_of(emulator: Emulator, name: str) -> dict[str, str]:
    key = emulator.keys[name]
    pair = (key,) if isinstance(key, str) else (*key, ":".join(key))
    return {f"key {number}": part for number, part in enumerate(pair)}


def secrets_of_links(links: list[str]) -> dict[str, str]:
    """The query of each link, the values in it that are not plain words, and the random part of its path."""
    secrets: dict[str, str] = {}
    for number, link in enumerate(links):
        parts = urlsplit(link)
        values = [value for _, value in parse_qsl(parts.query) if len(value) >= 16]
        secrets |= {f"link {number}.{index}": value for index, value in enumerate([parts.query, *values]) if value}
        secrets[f"path {number}"] = parts.path
    return secrets


def written_text(folder: Path) -> str:
    return "\n".join(path.read_text() for pattern in SECRETS_IN_FILES for path in (folder / "out").glob(pattern))


@pytest.mark.parametrize("name", NAMES)
async def test_no_file_of_a_recording_contains_a_secret_in_any_form(
    emulator: Emulator, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    links = collect_links(monkeypatch)
    urls = hosted(emulator)
    code, cassette = await record_provider(emulator, name, tmp_path, urls=urls)
    printed = capsys.readouterr()
    assert code == 0, printed
    callbacks = [task.callback_url for task in emulator.tasks if task.callback_url]
    secrets = {**keys_of(emulator, name), **secrets_of_links([*links, *urls])}
    secrets |= {f"callback {number}": url.rpartition("/")[2] for number, url in enumerate(callbacks)}
    secrets |= {f"task {number}": task.task_id for number, task in enumerate(emulator.tasks)}
    assert not find_secrets(written_text(tmp_path), secrets)
    assert "127.0.0.1" not in written_text(tmp_path)
    # the tokens that are printed hold task ids, and nothing that is not the user's to keep
    assert not find_secrets(printed.out + printed.err, keys_of(emulator, name))
    assert links
    assert cassette["cassettes"]


@pytest.mark.parametrize("name", NAMES)
async def test_every_path_gives_entries_that_the_player_of_cassettes_plays(
    emulator: Emulator, name: str, tmp_path: Path
) -> None:
    _, cassette = await record_provider(emulator, name, tmp_path, urls=hosted(emulator))
    assert cassette["unplayed"] == []
    assert {entry["name"].partition(":")[0] for entry in cassette["cassettes"]} == {
        path.name for path in paths_of(provider_class(name))
    }
    for entry in cassette["cassettes"]:
        play_entry(name, cassette, entry)


def play_entry(name: str, cassette: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
    provider = provider_class(name)(**cassette["account"], **entry.get("settings", {}))
    if "error" in entry:
        with pytest.raises(WatermarkError) as caught:
            play(provider, entry, cassette["auth"])
        assert type(caught.value).__name__ == entry["error"]
        return
    end, steps = play(provider, entry, cassette["auth"])
    assert steps == entry.get("steps", [])
    expected = Credits(**entry["credits"]) if "credits" in entry else entry["snapshot"]
    assert (end if "credits" in entry else as_fields(end)) == expected


@pytest.mark.parametrize("name", NAMES)
async def test_each_path_costs_what_its_table_says(emulator: Emulator, name: str, tmp_path: Path) -> None:
    await record_provider(emulator, name, tmp_path, urls=hosted(emulator))
    paths = paths_of(provider_class(name))
    # a failed task is refunded
    paid = emulator.charged[name] + emulator.refunded[name]
    assert paid == sum(path.submissions for path in paths)


async def test_a_provider_that_repeats_a_key_in_every_form_does_not_put_it_into_the_cassette(
    emulator: Emulator, tmp_path: Path
) -> None:
    key = str(emulator.keys["picwish"])
    body = {
        "status": 400,
        "message": f"key {key}, mail anna.smith@example.org, token {b64encode(key.encode()).decode()}",
        "url": f"https://anna:pw@api.example.net/cb?key={quote(key)}",
        key: "as a name",
        "debug": json.dumps({"headers": {"x": key, "nested": json.dumps({"k": key})}}),
        "percent": "".join(f"%{byte:02x}" for byte in key.encode()),
        "hex": key.encode().hex(),
        "reversed": key[::-1],
        "split": f"{key[:20]}\n{key[20:]}",
        "account": {"name": "Anna Smith", "number": 471147114711},
        "user_id": 815815815,
    }
    emulator.inject(Fault.status(400, body=body, headers={"X-Echo": key, "Retry-After": "7"}), "picwish", "submit")
    _, cassette = await record_provider(emulator, "picwish", tmp_path, paths=["submit-file"])
    text = written_text(tmp_path)
    secrets = {"key": key, "half": key[:20], "mail": "anna.smith", "name": "Anna Smith"}
    assert not find_secrets(text, {**secrets, "number": "471147114711", "user": "815815815", "password": "anna:pw"})
    (entry,) = cassette["cassettes"]
    assert entry["error"] == "Rejected"
    assert entry["exchanges"][0]["answer"]["status"] == 400
    assert entry["exchanges"][0]["headers"]["x-echo"] == "REDACTED"
    assert entry["exchanges"][0]["headers"]["retry-after"] == "7"


async def test_a_refusal_for_haste_is_an_entry_of_its_own_and_tells_retry_after(
    emulator: Emulator, tmp_path: Path
) -> None:
    emulator.inject(Fault.status(429, headers={"Retry-After": "0.1", "X-RateLimit-Limit": "2"}), "gptge", "submit")
    _, cassette = await record_provider(emulator, "gptge", tmp_path, paths=["submit-file"])
    assert [entry.get("error") for entry in cassette["cassettes"]][:2] == ["RateLimited", None]
    findings = {each["question"]: each for each in cassette["unknowns"]}
    assert findings["Retry-After on a refusal for haste"]["evidence"] == "HTTP 429, Retry-After: 0.1"
    assert findings["headers that tell a rate limit"]["evidence"] == "x-ratelimit-limit: 2"
    assert emulator.charged["gptge"] == 1


@pytest.mark.parametrize("encoding", ["envelope", "bare", "form"])
async def test_a_callback_is_recorded_with_its_method_headers_and_body(
    emulator: Emulator, tmp_path: Path, encoding: Any
) -> None:
    emulator.script(CallbackScript(encoding=encoding), "gptge")
    _, cassette = await record_provider(emulator, "gptge", tmp_path, paths=["submit-file"])
    (callback,) = cassette["callbacks"]
    assert callback["method"] == "POST"
    data = callback["body"].get("data", callback["body"])
    assert data["task_id"] == cassette["cassettes"][0]["snapshot"]["task_id"]
    assert data["file"].startswith("http://host.example.com/file-")
    findings = {each["question"]: each for each in cassette["unknowns"]}
    assert findings["callback: method, and how many"] == {
        "question": "callback: method, and how many",
        "known": True,
        "evidence": "POST; 1 received",
    }
    assert findings["callback: form and content of the body"]["known"]


async def test_files_that_are_lent_to_a_provider_are_written_as_urls_without_their_keys(
    emulator: Emulator, tmp_path: Path
) -> None:
    code, cassette = await record_provider(emulator, "photoeraser", tmp_path, paths=["submit-url", "batch"])
    assert code == 0
    assert not cassette["unplayed"]
    sent = [entry["job"]["inputs"] for entry in cassette["cassettes"] if entry["call"] == "submit"]
    assert sent == [
        ["https://example.com/image-1.jpg"],
        ["https://example.com/image-1.jpg", "https://example.com/image-2.jpg"],
    ]
    for entry in cassette["cassettes"]:
        play_entry("photoeraser", cassette, entry)
    assert "127.0.0.1" not in written_text(tmp_path)


async def test_what_a_recording_does_not_tell_is_still_unknown_with_the_path_that_may_tell(
    emulator: Emulator, tmp_path: Path
) -> None:
    _, cassette = await record_provider(emulator, "kaze", tmp_path, paths=["credits"])
    findings = {each["question"]: each for each in cassette["unknowns"]}
    assert findings["answer to a key that is not valid"] == {
        "question": "answer to a key that is not valid",
        "known": False,
        "evidence": "may be told by: bad-key",
    }
    assert findings["keys in answers that no document names"]["evidence"] == "none in 1 answers"


async def test_results_are_saved_and_described_by_length_and_digest(emulator: Emulator, tmp_path: Path) -> None:
    _, cassette = await record_provider(emulator, "picwish", tmp_path, paths=["submit-file"])
    (saved,) = (tmp_path / "out/picwish-1-results").iterdir()
    (download,) = cassette["downloads"]
    assert download["bytes"] == saved.stat().st_size
    # the emulator returns the image unchanged
    assert cassette["recorded"]["media"]["image.jpg"] == {"bytes": download["bytes"], "digest": download["digest"]}


async def test_an_answer_that_is_lost_leaves_the_paid_job_in_the_store(
    emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    emulator.inject(Fault.dropped_after(), "kaze", "submit")
    _, cassette = await record_provider(emulator, "kaze", tmp_path, paths=["submit-file"])
    assert cassette["recorded"]["paths"]["submit-file"]["outcome"] == "SubmissionInDoubt"
    assert cassette["failures"][0]["failure"].startswith("Kaze: no answer was received")
    async with SQLiteStore(tmp_path / "out/jobs.db") as store:
        (record,) = [each async for each in store.unfinished()]
    printed = capsys.readouterr()
    assert record.token in printed.out
    assert record.token in printed.err
    assert emulator.charged["kaze"] == 1


async def test_an_exception_in_the_middle_leaves_the_cassette_and_the_report(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(RecordingSession, "_save_results", fail)
    with pytest.raises(RuntimeError):
        await record_provider(emulator, "picwish", tmp_path, paths=["submit-file"])
    cassette = json.loads((tmp_path / "out/picwish-1.json").read_text())
    assert cassette["recorded"]["paths"]["submit-file"]["outcome"] == "interrupted"
    assert [entry["call"] for entry in cassette["cassettes"]][:2] == ["submit", "query"]
    assert (tmp_path / "out/picwish-1.report.txt").exists()


async def test_a_cassette_that_cannot_be_written_does_not_cost_the_job(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aiowatermark.cli.record.session._write_atomically", fail)
    with pytest.raises(FileNotFoundError):
        await record_provider(emulator, "picwish", tmp_path, paths=["submit-file"])
    assert "the cassette could not be written: the disk is full" in capsys.readouterr().err
    assert len(list((tmp_path / "out/picwish-1-results").iterdir())) == 1


async def test_a_stopped_recording_makes_no_further_call(emulator: Emulator, tmp_path: Path) -> None:
    stop = asyncio.Event()
    stop.set()
    code, cassette = await record_provider(emulator, "picwish", tmp_path, stop=stop)
    assert code == 1
    assert len(cassette["recorded"]["paths"]) == 1
    assert emulator.charged["picwish"] <= 1


async def test_an_entry_with_a_secret_that_redaction_missed_is_left_out(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiowatermark.cli.record.redactor.Redactor.answer", lambda _, response: response.json())
    body = {"status": 400, "message": str(emulator.keys["kaze"])}
    emulator.inject(Fault.status(400, body=body), "kaze", "submit")
    _, cassette = await record_provider(emulator, "kaze", tmp_path, paths=["submit-file", "credits"])
    assert not find_secrets(written_text(tmp_path), keys_of(emulator, "kaze"))
    assert [entry.get("call") for entry in cassette["cassettes"]] == ["credits", None]
    assert cassette["cassettes"][-1] == {"left_out": 1}
