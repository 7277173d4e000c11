"""Options `--credits` and `--fault` of `aiowatermark emulator`, and the callbacks that it sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import click

from ...emulator import CallbackAttempt, Emulator
from ...emulator.apis import APIS
from ..console.suggestions import did_you_mean

FAULTS = (
    "drop_answer",
    "drop_request",
    "expire_result",
    "fail_download",
    "fail_job",
    "fail_query",
    "fail_upload",
    "forget_task",
    "limit_rate",
    "reject",
    "stall_answer",
)
"""Methods of `EmulatedProvider` that need no argument."""
_LOOK_SECONDS = 0.1

credits_option = click.option(
    "--credits",
    "credits_left",
    type=click.FloatRange(0),
    metavar="N",
    help="Credits on each account; with 0 the providers refuse because no credits are left.",
)


def _parse_faults(_: click.Context, __: click.Parameter, texts: Sequence[str]) -> list[tuple[str, str]]:
    faults = [(name, fault) for name, _colon, fault in (text.partition(":") for text in texts)]
    for text, (name, fault) in zip(texts, faults, strict=True):
        if not fault:
            raise click.BadParameter(f"must be NAME:FAULT, such as kaze:drop_answer, not {text!r}")
        if name not in APIS:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(APIS)}.{did_you_mean(name, APIS)}")
        if fault not in FAULTS:
            raise click.BadParameter(f"{fault!r} is not one of {', '.join(FAULTS)}.{did_you_mean(fault, FAULTS)}")
    return faults


fault_option = click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME:FAULT",
    callback=_parse_faults,
    help="Let one request of provider NAME fail, such as kaze:drop_answer; may be given several times.  "
    f"[{', '.join(FAULTS)}]",
)


def apply_state(server: Emulator, credits_left: float | None, faults: Sequence[tuple[str, str]]) -> None:
    """Set the credits of all accounts, and let the next request of each named kind fail."""
    for name in APIS:
        if credits_left is not None:
            getattr(server, name).credits = credits_left
    for name, fault in faults:
        getattr(getattr(server, name), fault)()


async def watch_callbacks(server: Emulator, show: Callable[[CallbackAttempt, str], None]) -> None:
    """Call `show` with each callback that the emulator has sent, and the URL it was sent to, until cancelled."""
    shown = 0
    while True:
        attempts = server.deliveries[shown:]
        shown += len(attempts)
        urls = {task.task_id: task.callback_url for task in server.tasks} if attempts else {}
        for attempt in attempts:
            show(attempt, urls.get(attempt.task_id) or "")
        await asyncio.sleep(_LOOK_SECONDS)
