"""Errors of the SDK are said in the words of the command line: its options, and not arguments of Python."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark import CallbackReceiver, InvalidInput, JobFailed, Snapshot, Status
from aiowatermark.cli.batch.items import BatchItem, ItemStatus, Outcome
from aiowatermark.cli.batch.json_lines import outcome_line
from aiowatermark.cli.console.problems import error_text, problem_text
from aiowatermark.client.content_key import content_key
from aiowatermark.jobs import Job
from aiowatermark.media import as_media
from aiowatermark.options import Options


def account(name: str) -> aw.Provider:
    kind: Any = aw.provider_class(name)
    account: aw.Provider = kind(**dict.fromkeys(kind.env, "canary"))
    return account


def refusal(call: Callable[[], object]) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        call()
    return refused.value


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("picwish", {"tier": "xx"}, "tier must be standard or advanced, not 'xx'"),
        ("photoeraser", {"priority": "x"}, "priority must be a whole number from 0 to 9, not 'x'"),
        ("photoeraser", {"priority": 12}, "priority must be a whole number from 0 to 9, not 12"),
        (
            "dewatermark",
            {"predict_mode": "4.0"},
            "predict_mode must be one of 3.0, 2.0, old, not '4.0', with v2 of the API",
        ),
        (
            "dewatermark",
            {"pro": True, "remove_text": True},
            "--option pro=true takes the image alone: omit remove_text",
        ),
        ("gptge", {"mask": "m.png"}, "gpt.ge has no option mask: it has sync; it is given as --mask"),
        ("gptge", {"progress": "1"}, "gpt.ge has no option progress: it has sync; progress is for programs only"),
        ("gptge", {"dead_line": "1"}, "gpt.ge has no option dead_line: it has sync; did you mean --deadline?"),
        ("gptge", {"extra_field": "1"}, "gpt.ge has no option extra_field: it has sync"),
        ("gptge", {"snyc": "1"}, "gpt.ge has no option snyc: it has sync; did you mean sync?"),
    ],
)
def test_a_refused_option_is_said_as_it_was_given(name: str, options: dict[str, Any], said: str) -> None:
    error = refusal(lambda: account(name).resolve_options(options))
    assert problem_text(error) == error_text(error) == said


@pytest.mark.parametrize("option", sorted(Options.__annotations__))
@pytest.mark.parametrize(("value", "said"), [("True", "true"), ('"fine"', "fine"), ("'fine'", "fine")])
def test_every_option_that_an_error_names_in_python_is_named_as_an_option_of_the_command(
    option: str, value: str, said: str
) -> None:
    text = problem_text(InvalidInput(f"PicWish takes no mask with {option}={value}: omit it"))
    assert text == f"PicWish takes no mask with --option {option}={said}: omit it"


def test_content_that_cannot_be_read_twice_is_said_without_names_of_python() -> None:
    async def blocks() -> AsyncIterator[bytes]:
        yield b""

    error = refusal(lambda: content_key(account("kaze"), Job((as_media(blocks()),), None, {})))
    assert problem_text(error).startswith("its content cannot be read twice")


def test_the_callback_url_is_named_as_an_option() -> None:
    assert problem_text(refusal(lambda: CallbackReceiver("foo"))) == (
        "--callback-url must be the http or https URL under which providers reach this machine, "
        "like https://hooks.example.com/wm, not 'foo'"
    )


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("canäry", "KAZE_API_KEY is empty or not a valid API key: pass the text shown in the provider's console"),
        ("canary\ncanary", "KAZE_API_KEY has a line break in it"),
    ],
)
def test_a_key_of_the_environment_that_is_not_valid_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, key: str, said: str
) -> None:
    monkeypatch.setenv("KAZE_API_KEY", key)
    assert refusal(aw.Kaze.from_env).message == said
    assert refusal(lambda: aw.Kaze.from_env(api_key=key)).message.startswith("api_key ")


def test_a_failure_without_a_reason_is_said_once_to_programs_too() -> None:
    failed = JobFailed(
        "the job failed: the task failed",
        provider="kaze",
        snapshot=Snapshot("t", Status.FAILED, reason="the task failed"),
    )
    item = BatchItem("a.jpg", error=failed, status=ItemStatus.FAILED)
    line = json.loads(outcome_line(Outcome.of(item, "kaze")))
    assert line["error"] == "Kaze could not do it and gives no reason"
    named = JobFailed(
        "the job failed: too dark", provider="kaze", snapshot=Snapshot("t", Status.FAILED, reason="too dark")
    )
    assert error_text(named) == "the job failed: too dark"
