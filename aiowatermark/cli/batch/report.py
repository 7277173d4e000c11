"""What is said of jobs that have ended, one by one and in the end: for people, or as JSON for programs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from attrs import define

from ... import DeadlineExceeded, JobFailed, SubmissionInDoubt
from ..console.runner import error_text, printable
from .workers import CALLED_OFF, DONE, FAILED, UNFINISHED, BatchItem, WorkerPool


@define
class BatchRequest:
    """What the user asked for, as far as a report has to repeat it."""

    provider: str
    title: str
    folder: Path
    base_url: str | None
    as_json: bool
    total: int | None = None
    store: str | None = None

    def resuming(self, items: Sequence[BatchItem]) -> str:
        """The command that takes these jobs up again."""
        words = ["aiowatermark", "resume", "--provider", self.provider, "-o", str(self.folder)]
        if self.base_url:
            words += ["--base-url", self.base_url]
        if self.store:
            return shlex.join([*words, "--store", self.store, *(item.key for item in items)])
        return shlex.join([*words, *(item.token for item in items if item.token)])

    def forgetting(self, items: Sequence[BatchItem]) -> str:
        """The command after which these are sent anew."""
        words = ["aiowatermark", "jobs", "forget", "--store", self.store or ""]
        return shlex.join([*words, *(item.key for item in items)])


def line(item: BatchItem) -> str:
    """One item for people: what became of it, and where it is or why it is not."""
    if item.already_saved:
        return f"already done  {item.source} -> {item.output}"
    if item.status == DONE:
        return f"done        {item.source} -> {item.output}  {item.seconds:.1f} s"
    return f"{item.status:<10}  {item.source}: {_why(item)}"


def _why(item: BatchItem) -> str:
    """The reason, not naming the file again."""
    if item.unsent and item.status == CALLED_OFF:
        return "its upload was not complete: nothing was paid, run the command again"
    text = error_text(item.error) if item.error is not None else "stopped"
    return text.removeprefix(f"{item.source} ").removeprefix(f"{Path(item.source).name} ")


def json_line(item: BatchItem) -> str:
    """One item for programs; `error` is null where there is none, `token` where there is no job."""
    return json.dumps(
        {
            "media": item.source,
            "output": str(item.output) if item.output else None,
            "status": item.status,
            "error": error_text(item.error) if item.error is not None else None,
            "key": item.handle.key if item.handle else item.key or None,
            "token": item.token,
            "seconds": round(item.seconds, 3),
        }
    )


def make_reporter(errand: BatchRequest) -> Callable[[BatchItem], str]:
    """Says an item's end: to programs at once, on stdout; to people through the board."""

    def tell(item: BatchItem) -> str:
        if errand.as_json:
            click.echo(json_line(item))
        return line(item)

    return tell


def summary(errand: BatchRequest, crew: WorkerPool) -> None:
    """How it all ended: what failed and why, what goes on at the provider, and how to take it up again."""
    _say(errand, _headline(errand, crew), bold=True)
    doubtful = [item for item in crew.unfinished if errand.store and _in_doubt(item)]
    failed = [item for item in crew.unfinished if item.status == FAILED and item not in doubtful]
    _list_items(errand, "", failed)
    going = [item for item in crew.unfinished if item.status == UNFINISHED and item not in doubtful]
    _list_items(errand, f"Submitted and not finished, {len(going)}; they go on at {errand.title}:", going)
    if crew.stop.is_set():
        _not_submitted(errand, crew)
    _how_to_resume(errand, [item for item in (*going, *failed) if item.token and _resumes(item)])
    _how_to_decide(errand, doubtful)
    _how_to_try_again(errand, [item for item in failed if isinstance(item.error, JobFailed)])


def _headline(errand: BatchRequest, crew: WorkerPool) -> str:
    done, failed = crew.counts[DONE], crew.counts[FAILED]
    already = f" ({crew.already} already before)" if crew.already else ""
    stopped = "Stopped: " if crew.stop.is_set() else ""
    text = f"{stopped}{done} done{already}, {failed} failed in {crew.display.seconds:.1f} s"
    return f"{text}, in {errand.folder}" if done else text


def _list_items(errand: BatchRequest, heading: str, items: Sequence[BatchItem]) -> None:
    if items and heading:
        _say(errand, heading)
    for item in items:
        _say(errand, f"  {item.source}: {_why(item)}" if item.status == FAILED else f"  {item.source}")
        if item.token and _in_doubt(item):
            _say(errand, f"    look at your account before you send it again; its token: {item.token}")
        elif item.status == UNFINISHED and item.token is None:
            _say(errand, "    it was being submitted: look at your account before you send it again")


def _not_submitted(errand: BatchRequest, crew: WorkerPool) -> None:
    counts = crew.counts
    left = counts[CALLED_OFF] if errand.total is None else errand.total - sum(counts.values()) + counts[CALLED_OFF]
    _say(errand, f"Not submitted: {left}" if errand.total is not None or left else "The rest was not submitted.")
    for item in crew.unfinished:
        if item.status == CALLED_OFF and item.unsent:
            _say(errand, f"  {item.source}: {_why(item)}")


def _in_doubt(item: BatchItem) -> bool:
    return isinstance(item.error, SubmissionInDoubt)


def _resumes(item: BatchItem) -> bool:
    """Whether asking again may bring something: a job that goes on, or one whose result could not be saved."""
    if item.status == UNFINISHED or isinstance(item.error, DeadlineExceeded):
        return True
    return item.handle is not None and item.handle.snapshot.status.value == "succeeded"


def _how_to_resume(errand: BatchRequest, items: Sequence[BatchItem]) -> None:
    if items:
        _say(errand, "To fetch these, at no further cost:")
        _say(errand, f"  {errand.resuming(items)}")


def _how_to_decide(errand: BatchRequest, items: Sequence[BatchItem]) -> None:
    """What only a person can know: whether the provider took a job whose answer was lost."""
    if items:
        _say(errand, f"In doubt, {len(items)}: sent, no answer is known; not sent again, because they may be paid:")
        for item in items:
            _say(errand, f"  {item.source}  key {item.key}")
        _say(errand, f"Look at your account at {errand.title}. To send those anew that it does not show:")
        _say(errand, f"  {errand.forgetting(items)}")
        _say(errand, "and then the same command again.")


def _how_to_try_again(errand: BatchRequest, items: Sequence[BatchItem]) -> None:
    if items and errand.store:
        _say(errand, "What the provider could not do is not tried again by itself. To pay for another try:")
        _say(errand, f"  {errand.forgetting(items)}")


def _say(errand: BatchRequest, text: str, *, bold: bool = False) -> None:
    click.echo(click.style(printable(text), bold=bold), err=errand.as_json)
