"""One picture, from a file to a file."""

import asyncio
from pathlib import Path

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures


async def main() -> None:
    logo = pictures.sample_mark()
    marked, _ = pictures.stamp(pictures.sample_photo(), logo)
    Path("photo.jpg").write_bytes(marked)

    async with (
        Emulator(mark=logo) as emulator,  # with an account, this line goes
        aw.Client(emulator.provider("picwish")) as client,  # and this one says aw.PicWish(api_key="…")
    ):
        result = await client.remove("photo.jpg")
        print("clean:", await result.save("clean.jpg"))


if __name__ == "__main__":
    asyncio.run(main())
