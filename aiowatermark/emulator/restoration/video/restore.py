"""Removes a watermark from a video, frame by frame: H.264 in MP4, with sound and times as they were.

Needs the optional extra `video` (PyAV). The steps, each one pass over the file in constant memory:

    plan      Locate the mark once, in the mean of every third of the first 36 frames: what moves is blurred in the
              mean, the mark is not, so it is found where no single frame shows it clearly. Decide from mask and mark,
              as for images (`restore.plan_restoration`), what to undo and what to inpaint, and compute the
              coefficients for all frames (`planes`).
    copy      When there is nothing to remove, copy the file byte for byte.
    rewrite   Otherwise decode each frame, restore its planes and encode it again (CRF 18). Audio packets are copied
              without decoding. Timestamps, time base, colour description and pixel aspect ratio are carried over.

Invariants: the mark is assumed to stay where it is; a video whose frames change their size is refused. Frame count and
times stay. Other streams than the first video and the audio (subtitles, data) are dropped. Full-range colours become
limited range. Memory holds a few frames and packets, whatever the length.

One call is one thread, apart from FFmpeg's own; it blocks for about as long as decoding and encoding take. It cannot
be cancelled from outside: `worker` runs it in a process that can be killed. An exception raised by `progress` ends it.
On any exception the incomplete target is deleted; after a kill it stays, for the parent to delete.
"""

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
from .planes import PlaneUnblend, clean_planes, hole_masks, opaque_mask, plan_planes, split_planes
from .streams import (
    QUALITY,
    add_similar_stream,
    copy_packet,
    create_video,
    open_video,
    pixel_format,
    read_info,
    to_limited_range,
)
from .streams import StreamInfo as StreamInfo
from .streams import probe as probe

# the mark is located in every third of the first 36 frames: neighbouring frames differ too little to blur what moves
_FIRST_FRAMES, _EVERY = 36, 3
# FFmpeg's AVCOL_SPC_BT709
_BT709 = 1
# pixels by which the view of a sample video moves
_PAN = 120


@frozen
class VideoReport:
    """Whether a mark was found, the duration in seconds, and the number of frames."""

    has_watermark: bool
    duration: float
    frames: int


@frozen
class _RestorationPlan:
    """What is done to each frame: blends to undo, and a mask to inpaint for each plane."""

    unblends: list[PlaneUnblend]
    holes: list[Grey] | None


def _ignore(_: float) -> None:
    """Accept a progress report and do nothing."""


def restore_video(
    source: Path,
    target: Path,
    *,
    mask: bytes | None = None,
    mark: bytes | None = None,
    progress: Callable[[float], None] = _ignore,
) -> VideoReport:
    """Write the video without its watermark to `target` (MP4): a known mark is undone, white areas are inpainted.

    Mask and mark are images of their own, as for `restore`; the mask has the size of a frame. When there is nothing
    to remove, the file is copied byte for byte. `progress` is called with the share done, 0..1. Memory does not grow
    with the video's length. CPU-bound: call it in a thread or a process.

    Raises ValueError, with a sentence to show, when the file is not a video, or mask or mark do not fit (see
    `restore`).
    """
    with open_video(source) as (container, video):
        info = read_info(container, video)
        plan = _plan(container, video, mask, mark)
    if plan is None:
        shutil.copyfile(source, target)
        progress(1.0)
        return VideoReport(has_watermark=False, duration=info.duration, frames=_count_frames(source))
    try:
        frames = _rewrite(source, target, plan, lambda seconds: progress(min(1.0, seconds / (info.duration or 1.0))))
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    progress(1.0)
    return VideoReport(has_watermark=True, duration=info.duration, frames=frames)


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
    """Write a small MP4 to `path` and return it: a slow pan over a landscape, with the mark at 45 % opacity.

    Width and height are in pixels; `mark` is a PNG with alpha.
    """
    scene = landscape(width + 2 * _PAN, height + _PAN, seed)
    logo = fitted(decode_mark(mark), width, height) if mark else None
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=QUALITY)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format(width, height)
        for number in range(max(1, round(seconds * fps))):
            # there and back again, so that the scene need not grow with the duration
            offset = _PAN - abs(number % (2 * _PAN) - _PAN)
            view = scene[offset : offset + height, 2 * offset : 2 * offset + width].copy()
            if logo:
                blend(view, logo, 0.45, (width - logo.size[0]) * 4 // 5, (height - logo.size[1]) * 4 // 5)
            container.mux(stream.encode(VideoFrame.from_ndarray(view, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def _count_frames(source: Path) -> int:
    # the header of some files does not state it; counting packets needs no decoding
    with open_video(source) as (container, video):
        return video.frames or sum(packet.size > 0 for packet in container.demux(video))


def _plan(
    container: InputContainer, video: VideoStream, mask: bytes | None, mark: bytes | None
) -> _RestorationPlan | None:
    """Return what to do to each frame; None when there is nothing to remove."""
    width, height = video.width, video.height
    white = None if mask is None else decode_mask(mask, width, height)
    detections = _locate(container, video, decode_mark(mark)) if mark else ()
    detections, _, hole = plan_restoration(white, detections, width, height)
    hole |= dilate(opaque_mask(detections, width, height))
    if not detections and not hole.any():
        return None
    subsampled = pixel_format(width, height) == "yuv420p"
    bt709 = video.codec_context.colorspace == _BT709
    return _RestorationPlan(
        plan_planes(detections, width, height, subsampled=subsampled, bt709=bt709),
        hole_masks(hole, subsampled=subsampled),
    )


def _locate(container: InputContainer, video: VideoStream, mark: Mark) -> tuple[Detection, ...]:
    """Return where the mark is in the mean of early frames."""
    total: Reals = np.zeros((video.height, video.width), np.float32)
    used = 0
    for number, frame in enumerate(container.decode(video)):
        if number >= _FIRST_FRAMES:
            break
        if number % _EVERY == 0 and (frame.width, frame.height) == (video.width, video.height):
            total += split_planes(to_limited_range(frame), frame.width, frame.height)[0]
            used += 1
    # from limited range to 0..255
    return detect(((total / max(used, 1)) - 16) * np.float32(255 / 219), mark)


def _rewrite(source: Path, target: Path, plan: _RestorationPlan, on_time: Callable[[float], None]) -> int:
    """Write the restored video and return its number of frames; `on_time` is called with each frame's time."""
    with open_video(source) as (container, video), create_video(target) as output:
        restored = add_similar_stream(output, video)
        audio = {stream.index: output.add_stream_from_template(stream) for stream in container.streams.audio}
        frames = 0
        # demuxed together, so that audio and video are interleaved as they were
        for packet in container.demux(video, *container.streams.audio):
            if packet.stream.index in audio:
                copy_packet(packet, audio[packet.stream.index], output)
                continue
            for frame in video.decode(packet):
                output.mux(restored.encode(_clean_frame(frame, video, plan)))
                frames += 1
                on_time(frame.time or 0.0)
        # the encoder holds frames back until it is flushed
        output.mux(restored.encode(None))
    return frames


def _clean_frame(frame: VideoFrame, video: VideoStream, plan: _RestorationPlan) -> VideoFrame:
    if (frame.width, frame.height) != (video.width, video.height):
        raise ValueError("The frames of this video change their size: that is not supported.")
    pixels = to_limited_range(frame)
    clean_planes(split_planes(pixels, frame.width, frame.height), plan.unblends, plan.holes)
    restored = VideoFrame.from_ndarray(pixels, format=pixel_format(frame.width, frame.height))
    restored.pts, restored.time_base = frame.pts, frame.time_base
    return restored
