"""Command `record`: makes real calls once and writes what was answered as a redacted cassette."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ... import Provider
from ..console.runner import EXIT_NOT_STARTED, run
from ..options.callbacks import CallbackOptions, callback_options
from ..options.providers import base_url_option, exit_with_error, provider_from_env, provider_kind, provider_option
from ..record.paths import RecordingPath, paths_of
from ..record.report import cost_lines
from ..record.run import RecordingPlan, record_paths
from ..record.samples import MediaChoice

_ALL = "all"
_PATH_TYPE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@provider_option
@click.option("--path", "path_names", multiple=True, metavar="NAME", help="Call to record, or `all`; several times.")
@click.option("--yes-this-costs", "consent", is_flag=True, help="Make the calls. Without it they are listed only.")
@click.option(
    "-o",
    "--output",
    "folder",
    default=Path("aiowatermark-recordings"),
    show_default=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the cassette, the report, the results and the store.",
)
@click.option("--file", type=_PATH_TYPE, help="Image to submit; default: a generated one.")
@click.option("--mask", type=_PATH_TYPE, help="Mask of the size of the image; default: a generated one.")
@click.option("--url", "urls", multiple=True, metavar="URL", help="URL of an image, for paths that submit URLs.")
@click.option("--video", type=_PATH_TYPE, help="Video to submit, for the path `video`.")
@callback_options
@click.option(
    "--callback-wait",
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0),
    help="Time to wait for a callback after a job has ended.",
)
@click.option(
    "--deadline",
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="Maximum time to wait for a job.",
)
@base_url_option
def record(  # noqa: PLR0917 - click calls it by name
    name: str,
    path_names: Sequence[str],
    consent: bool,  # noqa: FBT001 - click's way
    folder: Path,
    file: Path | None,
    mask: Path | None,
    urls: Sequence[str],
    video: Path | None,
    callbacks: CallbackOptions,
    callback_wait: float,
    deadline: float,
    base_url: str | None,
) -> None:
    """Make one real call for each --path, and write what the provider answered as a cassette without secrets.

    THIS COSTS MONEY: every submission is charged by the provider. Without --yes-this-costs, nothing is sent, and the
    calls and what they cost are listed.

    Written into the output folder, numbered: the cassette (NAME-1.json) and a report of what was not known about the
    provider and is now (NAME-1.report.txt). Both may be shared; docs/contributing-a-cassette.md says how. The results
    and the store (jobs.db), by which a paid job can be fetched after a crash, are yours.

    Exit status: 0 if all paths were recorded, 1 if some were not or Ctrl-C was pressed, 2 if nothing was sent.
    """
    kind = provider_kind(name)
    media = MediaChoice(file, mask, video, tuple(urls))
    paths = _choose(kind, path_names)
    if not consent or not path_names:
        _print_costs(kind, paths)
        raise SystemExit(EXIT_NOT_STARTED)
    _require_media(kind, paths, media, callbacks)
    provider = provider_from_env(name, base_url)
    plan = RecordingPlan(provider, paths, media, folder, callbacks, base_url, deadline, callback_wait)
    run(lambda stop: record_paths(plan, stop))


def _choose(kind: type[Provider], names: Sequence[str]) -> list[RecordingPath]:
    known = {path.name: path for path in paths_of(kind)}
    if unknown := [name for name in names if name not in {*known, _ALL}]:
        exit_with_error(f"{kind.display_name} has no path '{unknown[0]}': choose of {', '.join(known)}, {_ALL}")
    return list(known.values()) if _ALL in names or not names else [known[name] for name in dict.fromkeys(names)]


def _print_costs(kind: type[Provider], paths: Sequence[RecordingPath]) -> None:
    click.echo(f"These calls to {kind.display_name} would be made, with your key:\n")
    click.echo("\n".join(cost_lines(kind, paths)))
    click.echo("\nNothing was sent. Choose with --path, and add --yes-this-costs to make the calls.")


def _require_media(
    kind: type[Provider], paths: Sequence[RecordingPath], media: MediaChoice, callbacks: CallbackOptions
) -> None:
    """Exit if a path lacks what it submits."""
    lends = callbacks.url is not None and not kind.capabilities.files
    for path in paths:
        if path.media == "video" and media.video is None:
            exit_with_error(f"the path {path.name} needs --video: there is no sample of a video")
        if path.media == "url" and not media.urls and not lends:
            files = "" if kind.capabilities.files else " or --callback-url, under which a file is then served"
            exit_with_error(f"the path {path.name} needs --url, the https URL of an image{files}")
        needs_mask = path.mask or (kind.capabilities.mask == "required" and path.submissions)
        if needs_mask and path.media == "url" and media.urls and media.mask is None:
            # a generated one would have another size, and the job may be charged nevertheless
            exit_with_error(f"the path {path.name} needs --mask, of the size of the image at the URL")
