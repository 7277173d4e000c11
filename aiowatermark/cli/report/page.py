"""Report page: writes one HTML file that shows every job with its images before and after.

The page is `page.html` with `page.css` and `page.js` inside. It needs no other file and asks no network: its policy
(Content-Security-Policy) permits these two texts, by their hashes, and pictures that are inside the page. So whatever a
name or an error contains, no browser runs it; and it is escaped.

Memory stays bounded: `ReportRows` keeps a limited number of jobs, and the pictures are made a few at a time while the
page is written. The page is written beside its target and renamed, which also replaces a symbolic link itself.
"""

from __future__ import annotations

import os
import secrets
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from hashlib import sha256
from html import escape
from importlib.resources import files
from pathlib import Path
from threading import Event
from urllib.parse import quote

from attrs import field, frozen

from ... import InvalidInput
from .rows import MAX_PICTURES, ReportRow, ReportRows
from .thumbnails import Thumbnail, make_thumbnail

_MARKER = b'<meta name="generator" content="aiowatermark">'
_MARKED_BYTES = 2000
_THREADS = 4
_CHUNK = 8
"""Jobs whose pictures are in memory at a time; writing can be ended after each."""
_CLASSES = {"done": "good", "already done": "good", "done before": "good", "restored": "good", "failed": "bad"}


@frozen
class ReportText:
    """What is shown above the jobs: the command, the seconds that all took, and remarks, such as what was left out."""

    title: str
    seconds: float
    remarks: Sequence[str] = field(factory=tuple)


def check_target(path: Path) -> None:
    """Create the folder of a report. Raises InvalidInput if no report can be written there.

    Called before anything is paid. A file that is there already is replaced only if it is a report.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise InvalidInput(f"the report {path} is a folder: give the name of a file in it, such as index.html")
        _check_free(path)
        part = _part_of(path)
        part.open("x").close()
        part.unlink()
    except OSError as error:
        raise InvalidInput(f"the report {path} cannot be written: {error.strerror or error}") from None


def _check_free(path: Path) -> None:
    if os.path.lexists(path) and not _is_report(path):
        raise InvalidInput(f"{path} exists and is not a report of this program: give another name for the report")


def _is_report(path: Path) -> bool:
    if not path.is_file() or path.is_symlink():
        return False
    with path.open("rb") as opened:
        return _MARKER in opened.read(_MARKED_BYTES)


def _part_of(path: Path) -> Path:
    return path.with_name(f".{secrets.token_hex(8)}.part")


def write_report(path: Path, rows: ReportRows, text: ReportText, *, ended: Event | None = None) -> None:
    """Write the page. Raises OSError, and leaves nothing behind then, also when `ended` is set.

    Raises InvalidInput if another file has got its name since `check_target`.

    To be called in a thread: reading 600 photographs of 12 megapixels takes half a minute.
    """
    part = _part_of(path)
    try:
        with part.open("x", encoding="utf-8") as page:
            for text_part in _parts(rows, text, path.parent):
                if ended is not None and ended.is_set():
                    raise InterruptedError("it was ended")
                page.write(text_part)
        _check_free(path)  # again: a result of this run may have got the name
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()


def _parts(rows: ReportRows, text: ReportText, folder: Path) -> Iterator[str]:
    above, _, below = _resource("page.html").partition("{{cards}}")
    header = _header(rows, text)
    yield _fill(above, header)
    yield from _cards(rows.kept, folder)
    yield _fill(below, header)


def _resource(name: str) -> str:
    return files(__name__.rpartition(".")[0]).joinpath(name).read_text(encoding="utf-8")


def _fill(template: str, values: Mapping[str, str]) -> str:
    """Return the template with its {{names}} replaced; a value is not searched for names."""
    first, *rest = template.split("{{")
    filled = [first]
    for each in rest:
        name, _, text = each.partition("}}")
        filled += [values.get(name, f"{{{{{name}}}}}"), text]
    return "".join(filled)


def _header(rows: ReportRows, text: ReportText) -> Mapping[str, str]:
    style, script = _resource("page.css"), _resource("page.js")
    return {
        "title": escape(text.title),
        "headline": f"{rows.done} of {rows.total} done",
        "facts": escape(" · ".join(_facts(rows, text))),
        "notes": "\n".join(f"<p>{escape(each)}</p>" for each in (*text.remarks, *_left_out(rows))),
        "chips": "\n".join(_chips(rows)),
        "providers": "".join(f"<option>{escape(name)}</option>" for name in rows.providers),
        "provider-hidden": " hidden" if len(rows.providers) < 2 else "",
        "style": style,
        "style-hash": _hash(style),
        "script": script,
        "script-hash": _hash(script),
    }


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _facts(rows: ReportRows, text: ReportText) -> Iterator[str]:
    yield text.title
    yield f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    yield f"{text.seconds:.1f} s"
    if rows.with_charge:
        paid = rows.with_charge + rows.cost_unknown
        known = f" (known for {rows.with_charge} of {paid})" if rows.cost_unknown else ""
        yield f"{_credits(rows.charges)} charged{known}"


def _credits(amount: float) -> str:
    return f"{amount:g} credit{'' if amount == 1 else 's'}"


def _left_out(rows: ReportRows) -> Iterator[str]:
    """Say what the limits of a page left out."""
    if rows.left_out:
        what = [f"{count:,} that are {'done' if done else 'not done'}" for done, count in rows.left_out.items()]
        yield f"This page shows the first {len(rows.kept):,} of {rows.total:,} jobs; left out: {' and '.join(what)}."
    with_pictures = sum(row.before is not None or row.after is not None for row in rows.kept)
    if with_pictures > MAX_PICTURES:
        yield f"Pictures are shown of the first {MAX_PICTURES} jobs only; the others have links to their files."


def _chips(rows: ReportRows) -> Iterator[str]:
    yield _chip("", "all", rows.total, " checked")
    for status, count in rows.statuses.most_common():
        yield _chip(status, status, count)


def _chip(value: str, label: str, count: int, checked: str = "") -> str:
    radio = f'<input type="radio" name="status" value="{escape(value)}"{checked}>'
    return f"<label>{radio}<span>{escape(label)} {count:,}</span></label>"


def _cards(rows: Sequence[ReportRow], folder: Path) -> Iterator[str]:
    """Yield the HTML of each row; a few rows' pictures are made at the same time."""
    pictured = {id(row) for row in _first_with_pictures(rows)}
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            thumbnails = pool.map(lambda row: _thumbnails(row) if id(row) in pictured else (None, None), chunk)
            yield from map(partial(_card, folder=folder), chunk, thumbnails)


def _first_with_pictures(rows: Iterable[ReportRow]) -> Sequence[ReportRow]:
    return [row for row in rows if row.before is not None or row.after is not None][:MAX_PICTURES]


def _thumbnails(row: ReportRow) -> tuple[Thumbnail | None, Thumbnail | None]:
    before, after = (None if path is None else make_thumbnail(path) for path in (row.before, row.after))
    return before, after


def _card(row: ReportRow, thumbnails: tuple[Thumbnail | None, Thumbnail | None], *, folder: Path) -> str:
    status = f'<span class="status {_CLASSES.get(row.status, "")}">{escape(row.status)}</span>'
    facts = [row.provider]
    facts += [] if row.seconds is None else [f"{row.seconds:.1f} s"]
    facts += [] if row.charge is None else [_credits(row.charge)]
    links = [_link(path, label, folder) for path, label in ((row.before, "Open before"), (row.after, "Open after"))]
    return "\n".join(
        (
            f'<article class="card" data-status="{escape(row.status)}" data-provider="{escape(row.provider)}">',
            _picture(row, *thumbnails),
            '<div class="text">',
            f'<h2 title="{escape(row.name)}">{escape(row.name)}</h2>',
            f'<p class="facts">{status} {escape(" · ".join(facts))}</p>',
            f'<p class="note">{escape(row.note)}</p>' if row.note else "",
            f'<p class="error" tabindex="0">{escape(row.error)}</p>' if row.error else "",
            *(f'<p class="note">{escape(line)}</p>' if line[:2] != "  " else _command(line) for line in row.advice),
            f'<p class="links">{"".join(links)}</p>' if any(links) else "",
            "</div>\n</article>\n",
        )
    )


def _command(line: str) -> str:
    """Return a command as text that is selected by one click."""
    return f'<pre class="command" tabindex="0">{escape(line.strip())}</pre>'


def _picture(row: ReportRow, before: Thumbnail | None, after: Thumbnail | None) -> str:
    """Return a slider if there are two pictures, else the one there is, else why there is none."""
    sides = ((before, "before"), (after, "after"))
    shown = [(each, side) for each, side in sides if each and each.uri]
    if len(shown) == 2:
        # the one before lies on top and is cut at the line
        images = "".join(_image(each, side) for each, side in reversed(shown))
        label = escape(f"Before and after of {row.name}: how much is shown of before, in percent")
        slider = f'<input type="range" min="0" max="100" step="5" value="50" autocomplete="off" aria-label="{label}">'
        tags = '<span class="tag left">before</span><span class="tag right">after</span>'
        return f'<figure class="picture compare">{images}<span class="line"></span>{tags}{slider}</figure>'
    reasons = [f"{side}: {each.reason}" for each, side in sides if each and each.reason]
    if shown:
        ((each, side),) = shown
        tag = escape(reasons[0] if reasons else side)
        return f'<figure class="picture">{_image(each, side)}<span class="tag left">{tag}</span></figure>'
    return f'<figure class="picture none">{escape("; ".join(reasons) or "no picture")}</figure>'


def _image(thumbnail: Thumbnail, side: str) -> str:
    attributes = f'class="{side}" alt="{side}" loading="lazy" decoding="async" draggable="false"'
    return f'<img {attributes} src="{escape(thumbnail.uri)}">'


def _link(path: Path | None, label: str, folder: Path) -> str:
    """Return a link to a file if there is one, relative to the report where that is possible."""
    if path is None or not path.is_file():
        return ""
    try:
        target = quote(os.fsencode(Path(os.path.relpath(path, folder)).as_posix()))
    except ValueError:  # another drive of Windows
        target = path.absolute().as_uri()
    # a colon in the first part would make it the scheme; quote has encoded it
    return f'<a href="{escape(target)}" target="_blank" rel="noopener">{label}</a>'
