"""Videos opened and written with PyAV: streams, times and colours are carried over, errors become ValueErrors."""

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

from ..headers import image_format
from ..pixels import Pixels

if TYPE_CHECKING:
    from av.packet import Packet
    from av.stream import Stream

# H.264: constant quality, visually near the source, and fast
QUALITY = {"crf": "18", "preset": "veryfast"}
# FFmpeg's AVCOL_RANGE_JPEG
_FULL_RANGE = 2
# FFmpeg's formats that turn texts and arbitrary data into something like a video
_NO_VIDEO = ("tty", "image2", "bin", "lrc")


@frozen
class StreamInfo:
    """A video's duration in seconds, frames per second, and size in pixels."""

    duration: float
    fps: float
    width: int
    height: int


def probe(source: Path) -> StreamInfo:
    """Return duration, frame rate and size, from the headers. Raises ValueError when the file is not a video."""
    with open_video(source) as (container, video):
        return read_info(container, video)


@contextmanager
def open_video(source: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open the file and its video stream; an FFmpeg error, now or inside the block, becomes a ValueError."""
    with source.open("rb") as file:
        if image_format(file.read(16)):
            raise ValueError("This is an image, not a video: send it to the image API.")
    try:
        with av.open(source) as container:
            yield container, _video_stream(container)
    except FFmpegError as error:
        # a full disk is not the video's fault
        if isinstance(error, OSError):
            raise
        raise ValueError(f"This file cannot be read and re-encoded as a video: {error.strerror}.") from error


def _video_stream(container: InputContainer) -> VideoStream:
    """Return the first real video stream: not a cover image, nor text, which FFmpeg would draw."""
    for video in container.streams.video:
        if video.width and container.format.name not in _NO_VIDEO and not video.disposition & Disposition.attached_pic:
            video.thread_type = "AUTO"
            return video
    raise ValueError("This file contains no video stream.")


def read_info(container: InputContainer, video: VideoStream) -> StreamInfo:
    """Return what the headers of an open video state; 0 for what they do not."""
    rate = float(video.average_rate or video.guessed_rate or 0)
    if container.duration:
        return StreamInfo(container.duration / av.time_base, rate, video.width, video.height)
    stream_duration = float(video.duration * video.time_base) if video.duration and video.time_base else 0.0
    return StreamInfo(stream_duration, rate, video.width, video.height)


@contextmanager
def create_video(target: Path) -> Iterator[OutputContainer]:
    """Create an MP4 with its header in front, so that players can start before they have all of it."""
    with av.open(target, "w", format="mp4", options={"movflags": "+faststart"}) as output:
        yield output


def add_similar_stream(output: OutputContainer, video: VideoStream) -> VideoStream:
    """Add an H.264 stream with the size, time base and colours of another stream."""
    added = output.add_stream("libx264", rate=video.average_rate or Fraction(25), options=QUALITY)
    added.width, added.height, added.pix_fmt = video.width, video.height, pixel_format(video.width, video.height)
    # the same time base keeps the frames' timestamps exact, also with a variable frame rate
    if video.time_base:
        added.time_base = added.codec_context.time_base = video.time_base
    old, new = video.codec_context, added.codec_context
    new.colorspace, new.color_primaries, new.color_trc = old.colorspace, old.color_primaries, old.color_trc
    if old.sample_aspect_ratio:
        new.sample_aspect_ratio = old.sample_aspect_ratio
    return added


def copy_packet(packet: Packet[Stream], target: Stream, output: OutputContainer) -> None:
    """Copy a packet to the target stream without decoding it."""
    # the last packet of a stream is empty and only tells decoders to finish
    if packet.dts is not None:
        packet.stream = target
        output.mux(packet)


def to_limited_range(frame: VideoFrame) -> Pixels:
    """Return a copy of the frame's planes in limited range (Y 16..235), in the layout of `pixel_format`."""
    layout = pixel_format(frame.width, frame.height)
    if frame.format.name.startswith("yuvj") or frame.color_range == _FULL_RANGE:
        return frame.reformat(format=layout, src_color_range="JPEG", dst_color_range="MPEG").to_ndarray()
    return frame.reformat(format=layout).to_ndarray()


def pixel_format(width: int, height: int) -> str:
    """Return yuv420p, which players expect, or yuv444p for odd sizes, where chroma cannot be halved."""
    return "yuv444p" if width % 2 or height % 2 else "yuv420p"
