"""Marks removed from videos, frame by frame, sound and times as they were: H.264 in MP4. Needs the extra `video`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from attrs import frozen
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ...pictures import blend, fitted, landscape
from ..detect import Hit, find
from ..inpaint import widened
from ..pixels import Grey, Mark, Reals, decode_mark, decode_mask
from ..restore import plan
from .planes import Peel, clean, holes_of, opaque, peels, split
from .streams import QUALITY, created, layout, like, measured, opened, pass_on, sheet
from .streams import Probe as Probe
from .streams import probe as probe

_LOOKED_AT, _EVERY = 36, 3
_BT709 = 1
_PAN = 120


@frozen
class FootageReport:
    """Whether a mark was found, the duration in seconds, and how many frames there are."""

    has_watermark: bool
    duration: float
    frames: int


@frozen
class _Work:
    """What is done to each frame."""

    peelings: list[Peel]
    holes: list[Grey] | None


def _silent(_: float) -> None:
    """Nobody wants to know."""


def restore_footage(
    source: Path,
    target: Path,
    *,
    mask: bytes | None = None,
    mark: bytes | None = None,
    progress: Callable[[float], None] = _silent,
) -> FootageReport:
    """Writes the video without its mark to `target` (MP4): a known mark undone, white areas of the mask inpainted.

    The mark is located once, on an average of the first frames. When nothing is to be removed, the file is copied
    byte for byte. `progress` is told the share done, 0..1. Memory does not grow with the video's length. CPU-bound:
    call it in a thread or a process.

    Raises ValueError, with a sentence to show, when the file is no video, or mask or mark do not fit (see `restore`).
    """
    with opened(source) as (container, video):
        facts = measured(container, video)
        work = _planned(container, video, mask, mark)
    if work is None:
        shutil.copyfile(source, target)
        progress(1.0)
        return FootageReport(has_watermark=False, duration=facts.duration, frames=_count(source))
    try:
        frames = _rewrite(source, target, work, lambda seconds: progress(min(1.0, seconds / (facts.duration or 1.0))))
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    progress(1.0)
    return FootageReport(has_watermark=True, duration=facts.duration, frames=frames)


def sample_footage(
    path: Path,
    *,
    seconds: float = 2.0,
    width: int = 320,
    height: int = 240,
    fps: int = 24,
    mark: bytes | None = None,
    seed: int = 0,
) -> Path:
    """Makes a small MP4 at `path` (returned): a slow pan over a landscape, with the mark (PNG with alpha) at 45 %."""
    scene = landscape(width + 2 * _PAN, height + _PAN, seed)
    logo = fitted(decode_mark(mark), width, height) if mark else None
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=QUALITY)
        stream.width, stream.height, stream.pix_fmt = width, height, layout(width, height)
        for number in range(max(1, round(seconds * fps))):
            # there and back again: the scene need not grow with the time
            way = _PAN - abs(number % (2 * _PAN) - _PAN)
            view = scene[way : way + height, 2 * way : 2 * way + width].copy()
            if logo:
                blend(view, logo, 0.45, (width - logo.size[0]) * 4 // 5, (height - logo.size[1]) * 4 // 5)
            container.mux(stream.encode(VideoFrame.from_ndarray(view, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def _count(source: Path) -> int:
    with opened(source) as (container, video):
        return video.frames or sum(packet.size > 0 for packet in container.demux(video))


def _planned(container: InputContainer, video: VideoStream, mask: bytes | None, mark: bytes | None) -> _Work | None:
    """What to do to each frame; None when nothing is to be removed."""
    width, height = video.width, video.height
    white = None if mask is None else decode_mask(mask, width, height)
    hits = _located(container, video, decode_mark(mark)) if mark else ()
    hits, _, hole = plan(white, hits, width, height)
    hole |= widened(opaque(hits, width, height))
    if not hits and not hole.any():
        return None
    halved = layout(width, height) == "yuv420p"
    modern = video.codec_context.colorspace == _BT709
    return _Work(peels(hits, width, height, halved=halved, modern=modern), holes_of(hole, halved=halved))


def _located(container: InputContainer, video: VideoStream, mark: Mark) -> tuple[Hit, ...]:
    """Where the mark is in an average of early frames: what moves is blurred there, the mark is not."""
    total: Reals = np.zeros((video.height, video.width), np.float32)
    used = 0
    for number, frame in enumerate(container.decode(video)):
        if number >= _LOOKED_AT:
            break
        if number % _EVERY == 0 and (frame.width, frame.height) == (video.width, video.height):
            total += split(sheet(frame), frame.width, frame.height)[0]
            used += 1
    # from the narrow range of video to 0..255
    return find(((total / max(used, 1)) - 16) * np.float32(255 / 219), mark)


def _rewrite(source: Path, target: Path, work: _Work, reached: Callable[[float], None]) -> int:
    with opened(source) as (container, video), created(target) as output:
        drawn = like(output, video)
        sounds = {sound.index: output.add_stream_from_template(sound) for sound in container.streams.audio}
        frames = 0
        for packet in container.demux(video, *container.streams.audio):
            if packet.stream.index in sounds:
                pass_on(packet, sounds[packet.stream.index], output)
                continue
            for frame in video.decode(packet):
                output.mux(drawn.encode(_cleaned(frame, video, work)))
                frames += 1
                reached(frame.time or 0.0)
        output.mux(drawn.encode(None))
    return frames


def _cleaned(frame: VideoFrame, video: VideoStream, work: _Work) -> VideoFrame:
    if (frame.width, frame.height) != (video.width, video.height):
        raise ValueError("The video changes its size on the way: that is not supported.")
    pixels = sheet(frame)
    clean(split(pixels, frame.width, frame.height), work.peelings, work.holes)
    drawn = VideoFrame.from_ndarray(pixels, format=layout(frame.width, frame.height))
    drawn.pts, drawn.time_base = frame.pts, frame.time_base
    return drawn
