"""Report of a batch: one line for each item and a summary, for people or as JSON for programs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from attrs import define

from ... import DeadlineExceeded, JobFailed, SubmissionInDoubt
from ...tokens import decode_token
from ..console.runner import error_text, printable
from ..options.report import HtmlReport
from .report_rows import row_of
from .workers import CANCELLED, DONE, FAILED, UNFINISHED, BatchItem, WorkerPool


@define
class BatchRequest:
    """What the user asked for: the settings that a report repeats. `title` is the provider's display name."""

    provider: str
    title: str
    folder: Path
    base_url: str | None
    as_json: bool
    total: int | None = None
    store: str | None = None
    html: HtmlReport | None = None

    def resume_command(self, items: Sequence[BatchItem]) -> str:
        """Return the command that fetches the results of these items."""
        words = ["aiowatermark", "resume", "--provider", self.provider, "-o", str(self.folder)]
        if self.base_url:
            words += ["--base-url", self.base_url]
        if self.store:
            return shlex.join([*words, "--store", self.store, *(item.key for item in items)])
        return shlex.join([*words, *(item.token for item in items if item.token)])

    def forget_command(self, items: Sequence[BatchItem]) -> str:
        """Return the command after which `remove` submits these items again."""
        words = ["aiowatermark", "jobs", "forget", "--store", self.store or ""]
        return shlex.join([*words, *(item.key for item in items)])


def format_line(item: BatchItem) -> str:
    """Return the line of an item for people: its status, and its file or its error."""
    if item.already_saved:
        return f"already done  {item.source} -> {item.output}"
    if item.status == DONE:
        remark = f" ({item.remark})" if item.remark else ""
        return f"done        {item.source} -> {item.output}  {item.seconds:.1f} s{remark}"
    status = "cancelled" if item.status == CANCELLED else item.status
    return f"{status:<10}  {item.source}: {_reason(item)}"


def _reason(item: BatchItem) -> str:
    """Return why the item is not done, without its name, which the caller prints."""
    if item.unsent and item.status == CANCELLED:
        return "the upload was not complete, so nothing was paid: run the command again"
    if item.error is None:
        return "stopped before it was submitted" if item.status == CANCELLED else "stopped before it was finished"
    text = error_text(item.error)
    return text.removeprefix(f"{item.source} ").removeprefix(f"{Path(item.source).name} ")


def format_json(item: BatchItem) -> str:
    """Return the line of an item for programs; `error` is null without an error, `token` without a job."""
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


def make_reporter(request: BatchRequest) -> Callable[[BatchItem], str]:
    """Return a function that reports an item that has ended: it returns the line for the progress display.

    With --json it also prints the item's JSON line on stdout.
    """

    def report(item: BatchItem) -> str:
        if request.as_json:
            click.echo(format_json(item))
        if request.html is not None:
            request.html.rows.add(row_of(item, request.title))
        return format_line(item)

    return report


def print_summary(request: BatchRequest, pool: WorkerPool) -> None:
    """Print the counts, the items that are not done and why, and the commands that fetch or resubmit them."""
    _print(request, _headline(request, pool), bold=True)
    # without a store no command can look a job in doubt up again: it is listed among the failed, with its token
    in_doubt = [item for item in pool.not_done if request.store and _is_in_doubt(item)]
    failed = [item for item in pool.not_done if item.status == FAILED and item not in in_doubt]
    _list_items(request, "", failed)
    unfinished = [item for item in pool.not_done if item.status == UNFINISHED and item not in in_doubt]
    _list_items(request, f"{len(unfinished)} submitted and not finished; running at {request.title}:", unfinished)
    if pool.stop.is_set():
        _print_not_submitted(request, pool)
    _print_resume(
        request, [item for item in (*unfinished, *failed) if _is_known_to_provider(item) and _is_resumable(item)]
    )
    _print_in_doubt(request, in_doubt)
    _print_retry(request, [item for item in failed if isinstance(item.error, JobFailed)])


def _headline(request: BatchRequest, pool: WorkerPool) -> str:
    done, failed = pool.counts[DONE], pool.counts[FAILED]
    already = f" ({pool.already_saved} by an earlier run)" if pool.already_saved else ""
    stopped = "Stopped: " if pool.stop.is_set() else ""
    text = f"{stopped}{done} done{already}, {failed} failed in {pool.display.seconds:.1f} s"
    return f"{text}; results are in {request.folder}" if done else text


def _list_items(request: BatchRequest, heading: str, items: Sequence[BatchItem]) -> None:
    if items and heading:
        _print(request, heading)
    for item in items:
        _print(request, f"  {item.source}: {_reason(item)}" if item.status == FAILED else f"  {item.source}")
        if item.token and _is_in_doubt(item):
            _print(request, f"    check your account before you send it again; its token: {item.token}")
        elif item.status == UNFINISHED and not _is_known_to_provider(item):
            _print(
                request, "    it was being submitted and may have been paid: check your account before you repeat it"
            )


def _print_not_submitted(request: BatchRequest, pool: WorkerPool) -> None:
    counts = pool.counts
    # without a total, what was never pulled cannot be counted
    never_pulled = 0 if request.total is None else request.total - sum(counts.values())
    count = never_pulled + counts[CANCELLED]
    if request.total is not None or count:
        _print(request, f"Not submitted: {count}")
    else:
        _print(request, "The rest was not submitted.")
    for item in pool.not_done:
        if item.status == CANCELLED and item.unsent:
            _print(request, f"  {item.source}: {_reason(item)}")


def _is_in_doubt(item: BatchItem) -> bool:
    return isinstance(item.error, SubmissionInDoubt)


def _is_known_to_provider(item: BatchItem) -> bool:
    """Whether the item's token has a task id; without one, the answer to its submission is missing."""
    return item.token is not None and decode_token(item.token).task_id is not None


def _is_resumable(item: BatchItem) -> bool:
    """Whether `resume` may fetch a result: the job still runs, or it has one that could not be saved."""
    if item.status == UNFINISHED or isinstance(item.error, DeadlineExceeded):
        return True
    return item.handle is not None and item.handle.snapshot.status.value == "succeeded"


def _print_resume(request: BatchRequest, items: Sequence[BatchItem]) -> None:
    if items:
        _print(request, "To fetch these results later, at no further cost:")
        _print(request, f"  {request.resume_command(items)}")


def _print_in_doubt(request: BatchRequest, items: Sequence[BatchItem]) -> None:
    """Print what only the user can find out: whether the provider took a job whose answer was lost."""
    if items:
        _print(request, f"{len(items)} in doubt: sent, but no answer was received; maybe paid, so not sent again:")
        for item in items:
            _print(request, f"  {item.source}  key {item.key}")
        _print(request, f"Check your account at {request.title}. For jobs that it does not show, run")
        _print(request, f"  {request.forget_command(items)}")
        _print(request, "and then repeat the same command. For those that it shows: aiowatermark jobs settle --help")


def _print_retry(request: BatchRequest, items: Sequence[BatchItem]) -> None:
    if items and request.store:
        _print(request, "Jobs that failed at the provider are not submitted again. To pay for another attempt, run")
        _print(request, f"  {request.forget_command(items)}")
        _print(request, "and then repeat the same command.")


def _print(request: BatchRequest, text: str, *, bold: bool = False) -> None:
    # with --json stdout is for the JSON lines alone
    click.echo(click.style(printable(text), bold=bold), err=request.as_json)
