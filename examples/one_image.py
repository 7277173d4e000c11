"""Remove the watermark of one image file."""

import asyncio
from pathlib import Path

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures


async def main() -> None:
    logo = pictures.sample_mark()
    marked, _ = pictures.stamp(pictures.sample_photo(), logo)
    Path("photo.jpg").write_bytes(marked)

    async with (
        Emulator(mark=logo) as emulator,  # with an account, delete this line
        aw.Client(emulator.provider("picwish")) as client,  # and write aw.Client(aw.PicWish(api_key="…")) here
    ):
        result = await client.remove("photo.jpg")
        print("clean:", await result.save("clean.jpg"))


if __name__ == "__main__":
    asyncio.run(main())
