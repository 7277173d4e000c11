"""Videos opened and written with PyAV: streams, times and colours carried over, errors as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from attrs import frozen
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..headers import picture_format
from ..pixels import Pixels

if TYPE_CHECKING:
    from av.packet import Packet
    from av.stream import Stream

QUALITY = {"crf": "18", "preset": "veryfast"}
_FULL_RANGE = 2
_NO_VIDEO = ("tty", "image2", "bin", "lrc")


@frozen
class StreamInfo:
    """A video's duration in seconds, frames a second, and size in pixels."""

    duration: float
    fps: float
    width: int
    height: int


def probe(source: Path) -> StreamInfo:
    """Duration, rate and size, from the headers. Raises ValueError when the file is no video."""
    with open_video(source) as (container, video):
        return measure(container, video)


@contextmanager
def open_video(source: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file and its video; whatever FFmpeg finds wrong with it, then or later, becomes a ValueError."""
    with source.open("rb") as file:
        if picture_format(file.read(16)):
            raise ValueError("This is a picture, not a video: send it to the picture API.")
    try:
        with av.open(source) as container:
            yield container, _moving(container)
    except FFmpegError as error:
        # a full disk is not the video's fault
        if isinstance(error, OSError):
            raise
        raise ValueError(f"This is no video that can be read and written again: {error.strerror}.") from error


def _moving(container: InputContainer) -> VideoStream:
    """The first stream of moving pictures: not a cover, nor text, which FFmpeg would draw."""
    for video in container.streams.video:
        if video.width and container.format.name not in _NO_VIDEO and not video.disposition & Disposition.attached_pic:
            video.thread_type = "AUTO"
            return video
    raise ValueError("This file holds no video.")


def measure(container: InputContainer, video: VideoStream) -> StreamInfo:
    """What the headers say of an open video."""
    rate = float(video.average_rate or video.guessed_rate or 0)
    if container.duration:
        return StreamInfo(container.duration / av.time_base, rate, video.width, video.height)
    own = float(video.duration * video.time_base) if video.duration and video.time_base else 0.0
    return StreamInfo(own, rate, video.width, video.height)


@contextmanager
def create_video(target: Path) -> Iterator[OutputContainer]:
    """A new MP4 that players can start before they have all of it."""
    with av.open(target, "w", format="mp4", options={"movflags": "+faststart"}) as output:
        yield output


def add_similar_stream(output: OutputContainer, video: VideoStream) -> VideoStream:
    """A new H.264 stream with the size, times and colours of another."""
    drawn = output.add_stream("libx264", rate=video.average_rate or Fraction(25), options=QUALITY)
    drawn.width, drawn.height, drawn.pix_fmt = video.width, video.height, layout(video.width, video.height)
    if video.time_base:
        drawn.time_base = drawn.codec_context.time_base = video.time_base
    old, new = video.codec_context, drawn.codec_context
    new.colorspace, new.color_primaries, new.color_trc = old.colorspace, old.color_primaries, old.color_trc
    if old.sample_aspect_ratio:
        new.sample_aspect_ratio = old.sample_aspect_ratio
    return drawn


def copy_packet(packet: Packet[Stream], sound: Stream, output: OutputContainer) -> None:
    """Copies a packet of sound as it is."""
    # the last packet of a stream is an empty one that only tells decoders to finish
    if packet.dts is not None:
        packet.stream = sound
        output.mux(packet)


def luma_plane(frame: VideoFrame) -> Pixels:
    """A copy of the frame's planes, in the narrow range."""
    wanted = layout(frame.width, frame.height)
    if frame.format.name.startswith("yuvj") or frame.color_range == _FULL_RANGE:
        return frame.reformat(format=wanted, src_color_range="JPEG", dst_color_range="MPEG").to_ndarray()
    return frame.reformat(format=wanted).to_ndarray()


def layout(width: int, height: int) -> str:
    """Chroma is halved where it can be: not for odd sizes."""
    return "yuv444p" if width % 2 or height % 2 else "yuv420p"
