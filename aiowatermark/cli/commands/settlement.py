"""`jobs settle`: settles a job in doubt by its task, and says what was settled and what is next."""

from __future__ import annotations

from ... import (
    AuthenticationError,
    Client,
    InvalidInput,
    JobStore,
    Provider,
    ProviderUnavailable,
    Status,
    WatermarkError,
)
from ...client.engine.settle import can_be_settled, load_unsettled, settled_paid
from ...client.engine.submission.claims import owners_of
from ...jobs import Record
from ...observation.commands import AccountOptions, Commands, address_of, preparation_lines
from ..advice.accounts import account_of_record, is_named
from ..advice.job_states import how_to_submit_again
from ..advice.lookup import find_job
from ..console.problems import key_variables, problem_text
from ..console.texts import MAX_NAME, printable, say
from ..options.providers import base_url_is_from_environment, provider_from_env


async def find_unsettled(store: JobStore, key: str, commands: Commands, *, as_unpaid: bool = False) -> Record:
    """Return the record of a job that can be settled, `as_unpaid` or otherwise.

    Raises InvalidInput, with what to do, if there is none.
    """
    record = await find_job(store, key, commands)
    if not can_be_settled(record) or (as_unpaid and record.settled_unpaid):
        why = _why_not_in_doubt(record, commands)
        raise InvalidInput(f"the job {printable(key, MAX_NAME)!r} is not in doubt: {why}")
    return await load_unsettled(store, owners_of(store), key)


def _why_not_in_doubt(record: Record, commands: Commands) -> str:
    """Return what became of a job, and the command that leads on or back."""
    status, resume = record.snapshot.status, commands.resume(account_of_record(record), [record.key])
    again = how_to_submit_again(in_folder=commands.store is None)
    if settled_paid(record):
        text = "it was settled as paid. If that was wrong, the way back is to delete it and to pay for it anew: "
        return f"{text}`{commands.forget([record.key])}`{commands.remark}. {again}"
    if record.settled_unpaid:
        return f"it was settled as unpaid, and not submitted since. {again} If that was wrong, settle it otherwise"
    if status is Status.FAILED:
        text = "it failed at the provider. To pay for it anew, delete it first: "
        return f"{text}`{commands.forget([record.key])}`{commands.remark}. {again}"
    if record.unsent:
        return f"it was not sent, so nothing was paid. {again}"
    task = f"the provider has it as task {printable(record.snapshot.task_id or '', MAX_NAME)}"
    return f"{task}. To fetch its result{commands.destination}, at no further cost: `{resume}`{commands.remark}"


async def settle_by_task(  # noqa: PLR0917 - what the user gave
    store: JobStore, key: str, task_id: str, name: str | None, base_url: str | None, commands: Commands
) -> AccountOptions:
    """Settle a job in doubt as a task of its provider; returns the options of `resume` that lead to its account.

    The record says which provider and account the job belongs to; the API key is that of the environment. Raises
    InvalidInput if there is no such job, or if its provider does not confirm the task.
    """
    record = await find_unsettled(store, key, commands)
    if name not in {None, record.provider}:
        raise InvalidInput(f"the job {key!r} is one of {record.provider}: leave out --provider {name}")
    provider = provider_from_env(record.provider, base_url, record.account or None)
    if base_url is None or base_url_is_from_environment():  # what was given with the command is asked
        _check_address(record, provider, task_id, commands)
    try:
        async with Client(provider, store=store, trust_env=True) as client:
            await client.settle(key, task_id=task_id)
    except WatermarkError as error:
        latest = await store.get(key)
        if latest is None or not can_be_settled(latest):
            raise
        error.about(provider=record.provider, key=key, token=None)
        state, asked = "in doubt" if latest.in_doubt else "settled as unpaid", _what_was_asked(error, record, provider)
        raise InvalidInput(f"{problem_text(error)}; the job stays {state}{asked}") from error
    return account_of_record(record, address_of(record) or provider.base_url)


def _check_address(record: Record, provider: Provider, task_id: str, commands: Commands) -> None:
    """Raise InvalidInput if another address would be asked than the job was sent to.

    It is named and not asked: who can write to the store could otherwise let the API key be sent anywhere.
    """
    account = account_of_record(record)
    if (sent_to := address_of(record)) in {None, provider.base_url} or account.note:
        return
    command = commands.settle([record.key], ["--task-id", task_id], AccountOptions(record.provider, base_url=sent_to))
    raise InvalidInput(
        f"the job was sent to {sent_to} and would be looked for at {provider.base_url}; nothing was asked. To ask the "
        f"address that it was sent to: `{command}`{commands.remark}"
    )


def say_settled_by_task(key: str, task_id: str, account: AccountOptions, commands: Commands) -> None:
    """Say that a job was accepted, and the command that fetches its result."""
    say_settled(key, f"accepted as task {task_id}")
    say(f"To fetch its result{commands.destination}, at no further cost:")
    say(f"  {commands.resume(account, [key])}")
    for line in preparation_lines(commands.note, account.note):
        say(line)


def say_settled(key: str, outcome: str) -> None:
    """Say what a job was settled as."""
    say(f"settled    {printable(key, MAX_NAME)}: {outcome}")


def outcome_of(*, paid: bool, in_folder: bool) -> str:
    """Return what a job was settled as, and what can be done with it; `in_folder`: it is one of an output folder."""
    if paid:
        return "paid, its result is lost; not submitted again"
    return f"unpaid. {how_to_submit_again(in_folder=in_folder)}"


def _what_was_asked(error: WatermarkError, record: Record, provider: Provider) -> str:
    """Return which account's API key is needed, if that may be why, or which address could not be reached."""
    if (sent_to := address_of(record)) not in {None, provider.base_url}:
        return f". It was sent to {sent_to}, and {provider.base_url} was asked"
    if isinstance(error, ProviderUnavailable):
        return f". Asked was {provider.base_url}; --base-url asks another address"
    if record.account in {"", provider.default_account}:
        return ""
    variables = key_variables(record.provider)
    if is_named(record.account):
        return f". It belongs to the account {printable(record.account)!r}, whose API key must be in {variables}"
    if address_of(record) is None and not isinstance(error, AuthenticationError):
        return f". It was sent with another API key than that in {variables}, or to another address (--base-url)"
    return f". It was submitted with another API key than that in {variables}"
