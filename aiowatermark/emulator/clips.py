"""A sample video with a watermark, for examples and trials; needs the extra `[video]`."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from .extras import missing_extra
from .pictures import blend, fitted, landscape, sample_mark
from .restoration.pixels import decode_mark

_RATE = 25
_WIDTH, _HEIGHT = 320, 240


def write_sample_clip(path: str | PathLike[str], seconds: float = 2.0) -> Path:
    """Write an MP4, a pan over a landscape under `pictures.sample_mark`, and return its path.

    Raises ModuleNotFoundError without PyAV.
    """
    if message := missing_extra("av"):
        raise ModuleNotFoundError(message)
    import av  # noqa: PLC0415 - an extra

    frames = round(seconds * _RATE)
    scene = landscape(_WIDTH + 2 * frames, _HEIGHT)
    mark = fitted(decode_mark(sample_mark(width=_WIDTH // 2)), _WIDTH, _HEIGHT)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_RATE)
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        for number in range(frames):
            view = scene[:, 2 * number : 2 * number + _WIDTH].copy()
            blend(view, mark, 0.6, _WIDTH // 4, _HEIGHT * 2 // 3)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="bgr24")))
        container.mux(stream.encode(None))
    return Path(path)
