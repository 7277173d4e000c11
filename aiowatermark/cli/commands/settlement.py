"""`jobs settle`: settles a job in doubt by its task, and says what was settled and what is next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from ... import Client, InvalidInput, JobStore, Provider, WatermarkError
from ...client.engine.settle import load_unsettled
from ...client.engine.submission.claims import owners_of
from ...jobs import Record
from ..console.problems import problem_text
from ..console.texts import MAX_NAME, printable, say
from ..options.providers import base_url_is_from_environment, provider_from_env
from .job_rows import AGAIN_IN_FOLDER, AGAIN_IN_STORE, is_named


async def settle_by_task(store: JobStore, key: str, task_id: str, name: str, base_url: str | None) -> list[str]:
    """Settle a job in doubt as a task of its provider; returns the options of `resume` that lead to its account.

    The record says which account the job belongs to; the API key is that of the environment. Raises InvalidInput if
    there is no such job, or if its provider does not confirm the task.
    """
    record = await load_unsettled(store, owners_of(store), key)
    if record.provider != name:
        raise InvalidInput(f"the job {key!r} is one of {record.provider}: give --provider {record.provider}")
    provider = provider_from_env(name, base_url, record.account or None)
    try:
        async with Client(provider, store=store, trust_env=True) as client:
            await client.settle(key, task_id=task_id)
    except WatermarkError as error:
        latest = await store.get(key)
        if latest is None or not latest.in_doubt:
            raise
        error.about(provider=name, key=key, token=None)
        text = f"{problem_text(error)}; the job stays in doubt{_meant_account(record, provider)}"
        raise InvalidInput(text) from error
    options = ["--provider", name]
    if provider.account != provider.default_account:
        options += ["--account", provider.account]
    if base_url is not None and not base_url_is_from_environment():
        options += ["--base-url", base_url]
    return options


def say_settled_by_task(key: str, task_id: str, where: str, output: str, options: Sequence[str]) -> None:
    """Say that a job was accepted, and the command that fetches its result; `where` leads to the store."""
    say_settled(key, f"accepted as task {task_id}")
    say("To fetch its result, at no further cost:")
    words = ["--", shlex.quote(key)] if key.startswith("-") else [shlex.quote(key)]
    say(printable(" ".join(["  aiowatermark resume", where + output, shlex.join(options), *words])))


def say_settled(key: str, outcome: str) -> None:
    """Say what a job was settled as."""
    say(f"settled    {printable(key, MAX_NAME)}: {outcome}")


def outcome_of(*, paid: bool, in_folder: bool) -> str:
    """Return what a job was settled as, and what can be done with it; `in_folder`: it is one of an output folder."""
    if paid:
        return "paid, its result is lost; not submitted again"
    return f"unpaid. {AGAIN_IN_FOLDER if in_folder else AGAIN_IN_STORE}"


def _meant_account(record: Record, provider: Provider) -> str:
    """Return which account's API key is needed, if it may be another one than that of the environment."""
    if record.account in {"", provider.default_account}:
        return ""
    variables = " and ".join(type(provider).env.values())
    if is_named(record.account):
        return f". It belongs to the account {printable(record.account)!r}, whose API key must be in {variables}"
    return f". It was submitted with another API key than that in {variables}"
