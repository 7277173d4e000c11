"""Process a video file and show a progress bar for the upload and for the provider's work."""

import asyncio
import sys
import time

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures
from aiowatermark.emulator.clips import write_sample_clip

WIDTH = 30


def draw(label: str, share: float, details: str = "") -> None:
    """Draw a progress bar over the current line; `share` is 0..1."""
    bar = ("#" * round(WIDTH * share)).ljust(WIDTH, ".")
    print(f"\r{label:<10} [{bar}] {share:4.0%} {details:<30}", end="", file=sys.stderr, flush=True)


class UploadProgress:
    """Progress callback that draws bytes, rate and remaining time."""

    def __init__(self) -> None:
        self.started_at = time.monotonic()

    def __call__(self, sent: int, total: int | None) -> None:
        rate = sent / max(time.monotonic() - self.started_at, 1e-6)
        size = total or sent
        remaining = (size - sent) / max(rate, 1e-6)
        amount = f"{sent / 1e6:.2f} of {size / 1e6:.2f} MB"
        draw("uploading", sent / max(size, 1), f"{amount}, {rate / 1e6:.1f} MB/s, {remaining:.0f} s")


async def main() -> None:
    clip = write_sample_clip("clip.mp4")  # with an account, delete this line and the emulator,
    async with (
        Emulator(mark=pictures.sample_mark(width=160), processing=0.5) as emulator,
        aw.Client(emulator.provider("dewatermark"), deadline=3600) as client,  # and write aw.Dewatermark(api_key="…")
    ):
        handle = await client.submit(clip, progress=UploadProgress())
        async for snapshot in handle.updates():
            if snapshot.status is not aw.Status.UPLOADING:
                draw(snapshot.status, snapshot.progress or 0.0)
        result = await handle
        saved = await result.save("clean.mp4")
    details = result.snapshot.details
    facts = ", ".join(f"{name} {details.get(name)}" for name in ("duration", "cost", "has_watermark"))
    print(f"\n{saved}: {facts}")


if __name__ == "__main__":
    asyncio.run(main())
