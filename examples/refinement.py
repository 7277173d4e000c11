"""Refine a result: remove more from an image whose watermark was removed (Dewatermark)."""

import asyncio
from pathlib import Path

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures


async def main() -> None:
    photo, brush = pictures.stamp(pictures.sample_photo(), pictures.sample_mark())
    Path("brush.png").write_bytes(brush)  # white where more must be removed, black elsewhere

    async with Emulator() as emulator, aw.Client(emulator.provider("dewatermark")) as client:
        first = await client.remove(photo)
        better = await client.refine(first, brush="brush.png")  # `first` carries the provider's session id
        await better.save("refined.jpg")
        print("credits left:", (await client.credits()).available)


if __name__ == "__main__":
    asyncio.run(main())
