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
from ..detect import Detection, detect
from ..inpaint import dilate
from ..pixels import Grey, Mark, Reals, decode_mark, decode_mask
from ..restore import plan_restoration
from .planes import PlaneUnblend, clean_planes, holes_of, opaque_mask, plan_planes, split
from .streams import QUALITY, add_similar_stream, copy_packet, create_video, layout, luma_plane, measure, open_video
from .streams import StreamInfo as StreamInfo
from .streams import probe as probe

_SAMPLED_FRAMES, _EVERY = 36, 3
_BT709 = 1
_PAN = 120


@frozen
class VideoReport:
    """Whether a mark was found, the duration in seconds, and how many frames there are."""

    has_watermark: bool
    duration: float
    frames: int


@frozen
class _RestorationPlan:
    """What is done to each frame."""

    peelings: list[PlaneUnblend]
    holes: list[Grey] | None


def _silent(_: float) -> None:
    """Nobody wants to know."""


def restore_video(
    source: Path,
    target: Path,
    *,
    mask: bytes | None = None,
    mark: bytes | None = None,
    progress: Callable[[float], None] = _silent,
) -> VideoReport:
    """Writes the video without its mark to `target` (MP4): a known mark undone, white areas of the mask inpainted.

    The mark is located once, on an average of the first frames. When nothing is to be removed, the file is copied
    byte for byte. `progress` is told the share done, 0..1. Memory does not grow with the video's length. CPU-bound:
    call it in a thread or a process.

    Raises ValueError, with a sentence to show, when the file is no video, or mask or mark do not fit (see `restore`).
    """
    with open_video(source) as (container, video):
        facts = measure(container, video)
        work = _plan(container, video, mask, mark)
    if work is None:
        shutil.copyfile(source, target)
        progress(1.0)
        return VideoReport(has_watermark=False, duration=facts.duration, frames=_count(source))
    try:
        frames = _rewrite(source, target, work, lambda seconds: progress(min(1.0, seconds / (facts.duration or 1.0))))
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    progress(1.0)
    return VideoReport(has_watermark=True, duration=facts.duration, frames=frames)


def sample_video(
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
    with open_video(source) as (container, video):
        return video.frames or sum(packet.size > 0 for packet in container.demux(video))


def _plan(
    container: InputContainer, video: VideoStream, mask: bytes | None, mark: bytes | None
) -> _RestorationPlan | None:
    """What to do to each frame; None when nothing is to be removed."""
    width, height = video.width, video.height
    white = None if mask is None else decode_mask(mask, width, height)
    hits = _locate(container, video, decode_mark(mark)) if mark else ()
    hits, _, hole = plan_restoration(white, hits, width, height)
    hole |= dilate(opaque_mask(hits, width, height))
    if not hits and not hole.any():
        return None
    halved = layout(width, height) == "yuv420p"
    modern = video.codec_context.colorspace == _BT709
    return _RestorationPlan(
        plan_planes(hits, width, height, halved=halved, modern=modern), holes_of(hole, halved=halved)
    )


def _locate(container: InputContainer, video: VideoStream, mark: Mark) -> tuple[Detection, ...]:
    """Where the mark is in an average of early frames: what moves is blurred there, the mark is not."""
    total: Reals = np.zeros((video.height, video.width), np.float32)
    used = 0
    for number, frame in enumerate(container.decode(video)):
        if number >= _SAMPLED_FRAMES:
            break
        if number % _EVERY == 0 and (frame.width, frame.height) == (video.width, video.height):
            total += split(luma_plane(frame), frame.width, frame.height)[0]
            used += 1
    # from the narrow range of video to 0..255
    return detect(((total / max(used, 1)) - 16) * np.float32(255 / 219), mark)


def _rewrite(source: Path, target: Path, work: _RestorationPlan, reached: Callable[[float], None]) -> int:
    with open_video(source) as (container, video), create_video(target) as output:
        drawn = add_similar_stream(output, video)
        sounds = {sound.index: output.add_stream_from_template(sound) for sound in container.streams.audio}
        frames = 0
        for packet in container.demux(video, *container.streams.audio):
            if packet.stream.index in sounds:
                copy_packet(packet, sounds[packet.stream.index], output)
                continue
            for frame in video.decode(packet):
                output.mux(drawn.encode(_clean_frame(frame, video, work)))
                frames += 1
                reached(frame.time or 0.0)
        output.mux(drawn.encode(None))
    return frames


def _clean_frame(frame: VideoFrame, video: VideoStream, work: _RestorationPlan) -> VideoFrame:
    if (frame.width, frame.height) != (video.width, video.height):
        raise ValueError("The video changes its size on the way: that is not supported.")
    pixels = luma_plane(frame)
    clean_planes(split(pixels, frame.width, frame.height), work.peelings, work.holes)
    drawn = VideoFrame.from_ndarray(pixels, format=layout(frame.width, frame.height))
    drawn.pts, drawn.time_base = frame.pts, frame.time_base
    return drawn
