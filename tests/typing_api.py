"""The public API as type checkers see it; mypy --strict and pyright check this file, nothing runs it.

A line with `# type: ignore[…]` must be an error for both: mypy reports an ignore that is not needed
(`warn_unused_ignores`), and so does pyright by the comment below. All other lines must pass.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedCoroutine=true

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO, Unpack, assert_never, assert_type

from attrs import frozen

import aiowatermark as aw


@frozen
class Row:
    """An item of a user's stream."""

    id: int
    path: Path
    mask: bytes | None


async def options_are_known_by_name_and_type(client: aw.Client, photo: bytes) -> None:
    await client.remove(photo, sync=True)
    await client.submit(photo, smear="smear.png", priority=3)
    await client.submit(photo, remove_text=True, predict_mode="2.0", session_id="s", mask_base=Path("base.png"))
    await client.remove(photo, snyc=True)  # type: ignore[call-arg]
    await client.remove(photo, sync="yes")  # type: ignore[arg-type]
    await client.remove(photo, maks="mask.png")  # type: ignore[call-arg]
    await client.submit(photo, snyc=True)  # type: ignore[call-arg]
    await client.submit(photo, priority="high")  # type: ignore[arg-type]
    await client.submit(photo, predict_mode="9.0")  # type: ignore[arg-type]
    await client.submit(photo, smear=7)  # type: ignore[arg-type]
    client.stream([photo], sync=True)
    client.stream([photo], snyc=True)  # type: ignore[call-overload]


async def options_of_a_provider_of_ones_own(client: aw.Client, photo: bytes, chosen: Mapping[str, object]) -> None:
    await client.remove(photo, options={"strength": 3})
    await client.submit(photo, options=chosen, deadline=20)
    client.stream([photo], options=chosen)
    await client.remove(photo, strength=3)  # type: ignore[call-arg]
    await client.remove(photo, options=[("strength", 3)])  # type: ignore[arg-type]


async def a_function_of_ones_own(client: aw.Client, photo: bytes, **options: Unpack[aw.Options]) -> aw.Result:
    computed: aw.Options = {"sync": True}
    await client.submit(photo, **computed)
    wrong: aw.Options = {"snyc": True}  # type: ignore[typeddict-unknown-key]
    await client.submit(photo, **wrong)
    return await client.remove(photo, **options)


async def media_of_every_kind(client: aw.Client, links: list[str], paths: Sequence[Path], file: BinaryIO) -> None:
    assert_type(await client.submit("photo.jpg", key="order-4711"), aw.JobHandle)
    assert_type(await client.remove(links, key=aw.CONTENT_KEY), aw.Result)
    await client.remove(paths)
    await client.remove(None, session_id="s")
    await client.submit(file, mask=b"mask", size=3)
    await client.submit(7)  # type: ignore[arg-type]
    await client.submit([7])  # type: ignore[list-item]
    await client.submit("photo.jpg", key=4711)  # type: ignore[arg-type]
    await client.submit("photo.jpg", deadline="soon")  # type: ignore[arg-type]


async def a_handle_and_its_result(client: aw.Client) -> None:
    handle = await client.submit("photo.jpg")
    result = assert_type(await handle, aw.Result)
    assert_type(await handle.result(timeout=30), aw.Result)
    async for snapshot in handle.updates():
        assert_type(snapshot, aw.Snapshot)
    assert_type(await result.save("clean.jpg"), Path)
    assert_type(await result.read(), bytes)
    assert_type(await client.refine(result, brush="brush.png", predict_mode="3.0"), aw.Result)


async def a_forgotten_await(client: aw.Client, result: aw.Result) -> None:
    print(client.submit("photo.jpg").token)  # type: ignore[attr-defined]
    print(client.remove("photo.jpg").outputs)  # type: ignore[attr-defined]
    result.save("clean.jpg")  # type: ignore[unused-coroutine]
    await client.refine(client.remove("photo.jpg"), brush="brush.png")  # type: ignore[arg-type]


async def what_is_not_awaited(client: aw.Client, result: aw.Result) -> None:
    await result  # type: ignore[misc]
    await client.stream(["photo.jpg"])  # type: ignore[misc]


async def a_stream_of_media(client: aw.Client, paths: list[Path]) -> None:
    outcomes = client.stream(paths, key=lambda path: path.name, mask="mask.png", deadline=20)
    assert_type(outcomes, AsyncGenerator[aw.Done[Path] | aw.Failed[Path], None])
    async with aclosing(client.stream(paths, key=aw.CONTENT_KEY)) as stream:
        async for outcome in stream:
            assert_type(outcome.item, Path)
            match outcome:
                case aw.Done(path, result):
                    assert_type(path, Path)
                    assert_type(result, aw.Result)
                case aw.Failed(path, error):
                    assert_type(path, Path)
                    assert_type(error, aw.WatermarkError)
                case _:
                    assert_never(outcome)


async def a_stream_of_rows(client: aw.Client, rows: AsyncIterator[Row]) -> None:
    stream = client.stream(
        rows, media=lambda row: row.path, key=lambda row: str(row.id), mask=lambda row: row.mask, sync=True
    )
    async for outcome in stream:
        assert_type(outcome.item, Row)
        if isinstance(outcome, aw.Done):
            assert_type(outcome, aw.Done[Row])
            await outcome.result.save(f"{outcome.item.id}.jpg")
        else:
            assert_type(outcome, aw.Failed[Row])
            assert_type(outcome.error, aw.WatermarkError)
        print(outcome.result)  # type: ignore[union-attr]
    async for batch in client.stream([[1, 2], [3]], media=lambda numbers: [f"{number}.jpg" for number in numbers]):
        assert_type(batch.item, list[int])


def streams_that_are_wrong(client: aw.Client, rows: list[Row]) -> None:
    client.stream(rows)  # type: ignore[type-var]
    client.stream(rows, media="path")  # type: ignore[call-overload]
    client.stream(rows, media=lambda row: row.id)  # type: ignore[arg-type, return-value]
    client.stream(rows, media=lambda row: row.path, key="batch")  # type: ignore[call-overload]
    client.stream(rows, media=lambda row: row.path, key=lambda row: row.id)  # type: ignore[arg-type, return-value]


def outcomes_are_covariant(done: aw.Done[Path]) -> aw.Outcome[aw.Source]:
    return done


def clients_that_are_wrong(provider: aw.Provider) -> None:
    aw.Client(provider, store=aw.SQLiteStore("jobs.db"), callbacks=aw.CallbackReceiver("https://hooks.example.com/wm"))
    aw.Client(aw.Kaze)  # type: ignore[arg-type]
    aw.Client("kaze")  # type: ignore[arg-type]
    aw.Client(provider, store="jobs.db")  # type: ignore[arg-type]
    aw.Client(provider, callbacks="https://hooks.example.com/wm")  # type: ignore[arg-type]
    with aw.Client(provider):  # type: ignore[attr-defined]
        pass


async def errors_by_what_the_caller_can_do(client: aw.Client) -> None:
    try:
        await client.remove("photo.jpg")
    except aw.DeadlineExceeded as error:
        assert_type(error.seconds, float | None)
        assert_type(error.last_status, aw.Status | None)
        assert_type(error.token, str | None)
    except aw.RateLimited as error:
        assert_type(error.retry_after, float | None)
    except aw.InvalidInput as error:  # Unsupported, too
        assert_type(error, aw.InvalidInput)
