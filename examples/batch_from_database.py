"""Batch from a database: a stream of rows, whose keys make a second run pay for nothing that the first has paid for."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures


class Photo(NamedTuple):
    id: int
    path: str


def create_database() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE photos (id INTEGER PRIMARY KEY, path TEXT, clean TEXT, problem TEXT)")
    for number in range(6):
        path = Path(f"row-{number}.jpg")
        path.write_bytes(pictures.sample_photo(seed=number) if number != 5 else b"not an image")
        database.execute("INSERT INTO photos (path) VALUES (?)", (str(path),))
    database.commit()
    return database


def photos_to_clean(database: sqlite3.Connection) -> Iterator[Photo]:
    """Yield the rows to process, in pages; the stream reads them only as fast as their results are taken."""
    query = "SELECT id, path FROM photos WHERE clean IS NULL AND problem IS NULL AND id > ? ORDER BY id LIMIT 100"
    last = 0
    while page := [Photo(*row) for row in database.execute(query, (last,))]:
        yield from page
        last = page[-1].id


async def clean_all(client: aw.Client, database: sqlite3.Connection, *, at_most: int | None = None) -> None:
    rows = photos_to_clean(database)
    async with aclosing(client.stream(rows, media=lambda row: row.path, key=lambda row: f"photo-{row.id}")) as outcomes:
        count = 0
        async for outcome in outcomes:
            match outcome:
                case aw.Done(row, result):
                    saved = await result.save(Path(row.path).with_suffix(".clean.jpg"))
                    database.execute("UPDATE photos SET clean = ? WHERE id = ?", (str(saved), row.id))
                case aw.Failed(row, error):
                    database.execute("UPDATE photos SET problem = ? WHERE id = ?", (error.message, row.id))
            database.commit()
            count += 1
            if count == at_most:
                break


async def main() -> None:
    database = create_database()
    async with Emulator() as emulator, aw.Client(emulator.provider("gptge")) as client:  # with store=aw.SQLiteStore(…)
        await clean_all(client, database, at_most=2)  # the first run is broken off
        await clean_all(client, database)
        print("charged:", emulator.charged["gptge"])
    for row in database.execute("SELECT id, clean, problem FROM photos"):
        print(*row)
    database.close()


if __name__ == "__main__":
    asyncio.run(main())
