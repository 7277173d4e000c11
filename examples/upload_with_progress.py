"""A film from a file to a file, with a bar for the upload and one for the work at the provider.

DEWATERMARK_API_KEY=… python upload_with_progress.py clip.mp4 clean.mp4
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path

import aiowatermark as aw

WIDTH = 30


def drawn(what: str, share: float, rest: str = "") -> None:
    """One line that is drawn over itself."""
    bar = ("#" * round(WIDTH * share)).ljust(WIDTH, ".")
    print(f"\r{what:<10} [{bar}] {share:4.0%} {rest:<30}", end="", file=sys.stderr, flush=True)


class Upload:
    """Called as the upload moves: bytes, rate, time left."""

    def __init__(self) -> None:
        self.begun = time.monotonic()

    def __call__(self, sent: int, total: int | None) -> None:
        rate = sent / max(time.monotonic() - self.begun, 1e-6)
        whole = total or sent
        left = (whole - sent) / rate
        drawn(
            "uploading", sent / whole, f"{sent / 1e6:.1f} of {whole / 1e6:.1f} MB, {rate / 1e6:.1f} MB/s, {left:.0f} s"
        )


async def main(film: Path, target: Path, base_url: str, every: float) -> None:
    provider = aw.Dewatermark.from_env(base_url=base_url, polling=aw.Polling(first=every))
    async with aw.Client(provider, deadline=3600) as client:
        handle = await client.submit(film, progress=Upload())
        async for snapshot in handle.updates():
            if snapshot.status is not aw.Status.UPLOADING:
                drawn(snapshot.status, snapshot.progress or 0.0)
        result = await handle
        await result.save(target)
    facts = result.snapshot.details
    print(f"\n{target}: {facts.get('duration')} s, {facts.get('cost')} credits, mark: {facts.get('has_watermark')}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("film", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--base-url", default=aw.Dewatermark.default_base_url)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two looks")
    options = parser.parse_args()
    asyncio.run(main(options.film, options.target, options.base_url, options.every))
