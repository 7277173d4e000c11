"""Process many images concurrently: results in completion order, bounded memory, failures do not stop the rest."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures


def make_images(folder: Path) -> Iterator[Path]:
    """Yield paths; `stream` also takes an async iterable, and reads either only as fast as results are consumed."""
    for number in range(8):
        path = folder / f"photo-{number}.jpg"
        path.write_bytes(pictures.sample_photo(seed=number) if number != 7 else b"not an image")
        yield path


async def main() -> None:
    folder = Path("many")
    folder.mkdir(exist_ok=True)
    limits = aw.Limits(submissions=4, in_flight=4)
    async with Emulator() as emulator, aw.Client(emulator.provider("gptge"), limits=limits) as client:
        async for outcome in client.stream(make_images(folder)):
            match outcome:
                case aw.Done(path, result):
                    print("done  ", await result.save(path.with_stem(f"{path.stem}-clean")))
                case aw.Failed(path, error):
                    print("failed", path, "-", error.message)


if __name__ == "__main__":
    asyncio.run(main())
