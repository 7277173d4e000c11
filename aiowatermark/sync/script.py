"""One line for scripts: remove the watermark of one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

from ..media import Source
from ..media.base import ProgressCallback
from ..options import Options
from ..provider import Provider
from ..providers import provider_class
from ..transport.targets import open_target
from .client import Client, JobHandle


def remove(
    media: Source,
    target: str | PathLike[str],
    *,
    provider: Provider | str,
    mask: Source | None = None,
    deadline: float | None = None,
    progress: ProgressCallback | None = None,
    options: Mapping[str, Any] | None = None,
    **named: Unpack[Options],
) -> Path:
    """Remove the watermark of one image or video, save the result, and return the path of the file. It waits.

    It opens a client for this one job: for several, use `aiowatermark.sync.Client`. It may be called where an event
    loop is running, as in a notebook, and blocks that loop; a service calls `await Client.remove(…)` instead.

    Args:
        media: a path, bytes, a URL, an open file: as for `Client.remove`.
        target: the file to write, or a folder, in which a free name is used; as for `Result.save`.
        provider: an account, such as `PicWish(api_key="…")`, or a name, such as "picwish": its key is then read from
            the environment, here `PICWISH_API_KEY`.
        mask: white is removed, black is kept; as for `Client.remove`.
        deadline: seconds, 600 if not given.
        progress: called as `progress(sent, total)` with bytes while the media is uploaded.
        options: options as a mapping, for a provider of your own; those of the five are given by name.
        **named: the provider's options, which `Options` documents.

    Raises InvalidInput, before anything is paid, if `target` cannot be written; else what `Client.remove` and
    `Result.save` raise. What is raised after the job was accepted, Ctrl-C included, has the token that resumes it.
    """
    path = _writable(target)
    account = provider if isinstance(provider, Provider) else provider_class(provider).from_env()
    with Client(account) as client:
        handle = client.submit(media, mask=mask, deadline=deadline, progress=progress, options=options, **named)
        with _token_noted(handle):
            return handle.result().save(path)


def _writable(target: str | PathLike[str]) -> Path:
    """Return the path of a target that can be written, as far as that can be told; raises InvalidInput."""
    path = Path(target)
    if path.is_file() or path.is_dir() or not path.exists():  # opening a device or FIFO would be noticed at its end
        open_target(path, "result").discard()
    return path


@contextmanager
def _token_noted(handle: JobHandle) -> Iterator[None]:
    """Note in whatever is raised how to get the result of this job, which is paid."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"the job was submitted; resume it with its token {handle.token}")
        raise
