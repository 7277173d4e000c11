"""Command `remove`: removes the watermarks of files and URLs through a provider."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from attrs import field, frozen

from ...provider import Provider
from ..advice.accounts import account_of_run
from ..batch.batch import BatchLimits, run_batch
from ..batch.planning.dry_run import run_dry
from ..batch.planning.inputs import is_file_argument
from ..batch.planning.job_keys import KEY_HELP
from ..batch.planning.removal import Removal
from ..batch.request import BatchRequest
from ..batch.state_folder import StateFolder
from ..console.runner import run
from ..console.texts import say
from ..options.batch import deadline_option, folder_option, jobs_option, json_option
from ..options.callbacks import CallbackOptions, callback_options
from ..options.providers import (
    account_option,
    base_url_option,
    exit_with_error,
    parse_options,
    provider_from_env,
    provider_option,
)
from ..options.report import HtmlReport, report_option
from ..options.store import no_store_option, store_option

_EPILOG = f"""{KEY_HELP}

\b
Examples:
  aiowatermark remove photo.jpg --provider picwish -o clean
  aiowatermark remove -r photos --provider kaze -o clean --dry-run
  find . -name '*.png' | aiowatermark remove - --provider gptge -o clean

Exit status: 0 if all files are done, 1 if some failed or Ctrl-C was pressed, 2 if nothing could be started.
"""


@frozen
class _Arguments:
    """The arguments of the command, but for the callback options."""

    files: Sequence[str]
    name: str
    folder: Path
    mask: str | None
    recursive: bool
    store: str | None
    no_store: bool
    again: bool
    dry_run: bool
    jobs: int
    deadline: float
    option_texts: Sequence[str]
    base_url: str | None
    account: str | None
    report: HtmlReport | None
    as_json: bool = field(default=False)

    def check(self) -> None:
        """Exit if two of them contradict each other."""
        if self.no_store and (self.store is not None or self.again):
            exit_with_error("--no-store remembers nothing: it cannot be given with --store or --again")

    def request(self, provider: Provider) -> BatchRequest:
        """Return the settings that reports repeat."""
        default = self.store is None and not self.no_store
        store = str(StateFolder(self.folder).store) if default else self.store
        request = BatchRequest(
            account_of_run(provider),
            provider.display_name,
            self.folder,
            self.as_json,
            store=store,
            default_store=default,
            arguments=sys.argv[1:],
            reads_stdin="-" in self.files,
        )
        if self.report is not None:
            self.report.request = request
        return request


@click.command(epilog=_EPILOG)
@click.argument("files", nargs=-1, required=True)
@provider_option
@folder_option
@click.option(
    "--mask",
    metavar="FILE",
    help="Image that marks what to remove: white is removed, black is kept. The same mask is used for all FILES.",
)
@click.option("-r", "--recursive", is_flag=True, help="Read folders: the images and videos in them and below.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, refused and paid; send nothing, write nothing.")
@click.option("--again", is_flag=True, help="Pay anew for everything: what is done, has failed, is lost or in doubt.")
@store_option
@no_store_option
@callback_options
@jobs_option
@deadline_option
@click.option(
    "--option",
    "option_texts",
    multiple=True,
    metavar="NAME=VALUE",
    help="Option of the provider's API; may be given several times. smear and mask_base are paths of images.",
)
@base_url_option
@account_option
@report_option
@json_option
def remove(callbacks: CallbackOptions, **values: Any) -> None:
    """Remove watermarks from FILES: paths, patterns, https URLs, folders with -r, or - for lines of stdin.

    Each result is saved as NAME-clean in the output folder; existing files are never overwritten. A file that fails
    does not stop the others.

    Nothing is paid twice: the same command again skips what is done and continues what is open, also after Ctrl-C or a
    crash. Jobs that may have been paid are listed and not submitted again.
    """
    arguments = _Arguments(**values)
    arguments.check()
    provider = provider_from_env(arguments.name, arguments.base_url, arguments.account)
    removal = Removal(
        provider,
        arguments.files,
        arguments.mask,
        parse_options(provider, arguments.option_texts),
        arguments.recursive,
        arguments.again,
        callbacks.url is not None,
        arguments.store is not None,
    )
    request = arguments.request(provider)
    _print_note_on_files(removal)

    async def work(stop: asyncio.Event) -> int:
        if arguments.dry_run:
            return await run_dry(removal, request)
        limits = BatchLimits(arguments.jobs, arguments.deadline)
        return await run_batch(
            request,
            provider,
            removal.prepare,
            stop,
            batch_limits=limits,
            callbacks=callbacks,
            listener=arguments.report,
        )

    run(work)


def _print_note_on_files(removal: Removal) -> None:
    """Print what a provider that accepts URLs only needs for files; each file's own error cannot name the option."""
    provider = removal.provider
    if (
        not provider.capabilities.files
        and not removal.can_serve_files
        and any(map(is_file_argument, removal.arguments))
    ):
        say(
            f"Note: {provider.display_name} accepts URLs only. To send files, give --callback-url: "
            "they are then downloaded from this machine.",
            err=True,
        )
