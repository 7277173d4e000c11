"""Process a video file and show a progress bar for the upload and for the provider's work.

DEWATERMARK_API_KEY=… python upload_with_progress.py clip.mp4 clean.mp4
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path

import aiowatermark as aw

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
        remaining = (size - sent) / rate
        amount = f"{sent / 1e6:.1f} of {size / 1e6:.1f} MB"
        draw("uploading", sent / size, f"{amount}, {rate / 1e6:.1f} MB/s, {remaining:.0f} s")


async def main(video: Path, target: Path, base_url: str, interval: float) -> None:
    provider = aw.Dewatermark.from_env(base_url=base_url, polling=aw.Polling(first=interval))
    async with aw.Client(provider, deadline=3600) as client:
        handle = await client.submit(video, progress=UploadProgress())
        async for snapshot in handle.updates():
            if snapshot.status is not aw.Status.UPLOADING:
                draw(snapshot.status, snapshot.progress or 0.0)
        result = await handle
        await result.save(target)
    details = result.snapshot.details
    facts = ", ".join(f"{name} {details.get(name)}" for name in ("duration", "cost", "cost_is_guess", "has_watermark"))
    print(f"\n{target}: {facts}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--base-url", default=aw.Dewatermark.default_base_url)
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two polls")
    options = parser.parse_args()
    asyncio.run(main(options.video, options.target, options.base_url, options.interval))
