"""Options that `remove` and `resume` have in common."""

from __future__ import annotations

from pathlib import Path

import click

folder_option = click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder for the results; it is created if it does not exist.",
)
json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object per job on stdout; everything else goes to stderr.",
)
jobs_option = click.option(
    "--jobs",
    default=16,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Maximum number of concurrent jobs.",
)
deadline_option = click.option(
    "--deadline",
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="Maximum time to wait for a job. The same command waits for one that takes longer.",
)
