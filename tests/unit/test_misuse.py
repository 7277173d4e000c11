"""A wrong use is answered in one sentence that shows the right line."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.emulator import Emulator
from aiowatermark.jobs import Record
from aiowatermark.media.memory import Bytes
from aiowatermark.testing import ScriptedTransport, json_response
from tests.support.picwish import ACCEPTED, FINISHED, LINK, scripted_client

VIRTUAL_CLOCK = True
HOOKS = "https://hooks.example.com/wm"
KAZE = aw.Kaze("canary-1")


class OwnProvider(aw.Kaze):
    """A provider that is not in the package."""


def use(value: Any) -> Any:
    """Return a value as one of any type, for uses that type checkers refuse."""
    return value


class Fetcher:
    """Gives the bytes of an output."""

    async def read(self, _: aw.Result, output: aw.Output, __: object) -> bytes:
        assert isinstance(output.media, Bytes)
        return output.media.data


def make_result(*inputs: str) -> aw.Result:
    outputs = tuple(aw.Output(Bytes(data)) for data in (b"first", b"second", b"third"))
    snapshot = aw.Snapshot("t", aw.Status.SUCCEEDED, outputs=outputs)
    return aw.Result(Record("k", "photoeraser", snapshot, inputs=inputs), use(Fetcher()))


def with_(value: Any) -> None:
    with value:
        pass


SYNCHRONOUS: dict[str, tuple[Callable[[], object], str]] = {
    "a provider's class": (lambda: aw.Client(use(aw.Kaze)), 'aw.Client(aw.Kaze(api_key="…"))'),
    "a class with two keys": (
        lambda: aw.Client(use(aw.PhotoEraser)),
        'aw.Client(aw.PhotoEraser(app_key="…", app_secret="…"))',
    ),
    "a class of one's own": (lambda: aw.Client(use(OwnProvider)), 'aw.Client(OwnProvider(api_key="…"))'),
    "a provider's name": (lambda: aw.Client(use("kaze")), 'aw.Client(aw.Kaze(api_key="…"))'),
    "a misspelt name": (lambda: aw.Client(use("pic-wich")), 'aw.Client(aw.PicWish(api_key="…"))'),
    "an API key": (lambda: aw.Client(use("canary-1")), 'aw.Client(aw.PicWish(api_key="…"))'),
    "an emulator": (lambda: aw.Client(use(Emulator())), 'aw.Client(emulator.provider("picwish"))'),
    "a number as limits": (lambda: aw.Client(KAZE, limits=use(16)), "not int: limits=aw.Limits(…)"),
    "no provider": (lambda: aw.Client(use(None)), 'aw.Client(aw.PicWish(api_key="…"))'),
    "a path as store": (lambda: aw.Client(KAZE, store=use("jobs.db")), 'store=aw.SQLiteStore("jobs.db")'),
    "a Path as store": (lambda: aw.Client(KAZE, store=use(Path("a/b.db"))), 'store=aw.SQLiteStore("a/b.db")'),
    "an empty text as store": (lambda: aw.Client(KAZE, store=use("")), 'store=aw.SQLiteStore("jobs.db")'),
    "a URL as store": (
        lambda: aw.Client(KAZE, store=use("rediss://:canary-2@host/0")),
        'store=aw.RedisStore("rediss://…")',
    ),
    "a class as store": (lambda: aw.Client(KAZE, store=use(aw.RedisStore)), 'store=aw.RedisStore("redis://…")'),
    "a dictionary as store": (lambda: aw.Client(KAZE, store=use({})), 'store=aw.SQLiteStore("jobs.db")'),
    "a URL as callbacks": (lambda: aw.Client(KAZE, callbacks=use(HOOKS)), f'callbacks=aw.CallbackReceiver("{HOOKS}")'),
    "True as callbacks": (lambda: aw.Client(KAZE, callbacks=use(True)), f'callbacks=aw.CallbackReceiver("{HOOKS}")'),
    "a server as callbacks": (
        lambda: aw.Client(KAZE, callbacks=use(aw.CallbackServer(aw.CallbackReceiver(HOOKS)))),
        f'callbacks=aw.CallbackReceiver("{HOOKS}")',
    ),
    "a client in `with`": (lambda: with_(aw.Client(KAZE)), "async with aw.Client(…) as client:"),
    "a server in `with`": (
        lambda: with_(aw.CallbackServer(aw.CallbackReceiver(HOOKS))),
        "async with aw.CallbackServer(…) as server:",
    ),
    "an unknown provider": (lambda: aw.provider_class("pic wish"), "did you mean picwish?"),
    "an unknown provider of an emulator": (lambda: Emulator().provider("Kase"), "did you mean kaze?"),
    "an emulated key of an unknown provider": (
        lambda: Emulator().provider("openai"),
        "dewatermark, gptge, kaze",
    ),
    "an ftp link": (lambda: aw.as_media("ftp://host/photo.jpg"), "pass an https:// URL, or download the file"),
    "an S3 link": (
        lambda: aw.as_media("S3://bucket/photo.jpg"),
        "no provider fetches s3:// URLs: pass an https:// URL",
    ),
    "a file link": (lambda: aw.as_media("file:///photo.jpg"), 'pass its path, such as "photos/photo.jpg"'),
    "a key with a line break at its end": (
        lambda: aw.Kaze("canary-1\n"),
        "ends with a line break: api_key=text.strip()",
    ),
    "a key with spaces around it": (lambda: aw.Kaze(" canary-1"), "begins or ends with spaces: api_key=text.strip()"),
    "a secret with a line break": (
        lambda: aw.PhotoEraser("canary-1", "canary-2\r\n"),
        "app_secret begins or ends with a line break: app_secret=text.strip()",
    ),
    "a key of two lines": (
        lambda: aw.Kaze("canary-1\ncanary-2"),
        "api_key has a line break in it: api_key=text.splitlines()[0]",
    ),
}


async def on_another_loop(client: aw.Client) -> None:
    receiver = aw.CallbackReceiver(HOOKS)
    refused: list[Exception] = []

    async def use_elsewhere() -> None:
        try:
            async with scripted_client(ScriptedTransport(), callbacks=receiver):
                pass
        except aw.InvalidInput as error:
            refused.append(error)

    async with scripted_client(ScriptedTransport(), callbacks=receiver):
        thread = threading.Thread(target=lambda: asyncio.run(use_elsewhere()))
        thread.start()
        thread.join()
    raise refused[0]


async def never_open(_: aw.Client) -> None:
    await aw.Client(KAZE).submit(LINK)


async def closed(_: aw.Client) -> None:
    async with scripted_client(ScriptedTransport()) as client:
        pass
    await client.submit(LINK)


async def await_result(client: aw.Client) -> None:
    await use(await client.remove(LINK))


async def await_stream(client: aw.Client) -> None:
    await use(client.stream([LINK]))


async def iterate_stream(client: aw.Client) -> None:
    list(use(client.stream([LINK])))


async def refine_handle(client: aw.Client) -> None:
    await client.refine(use(await client.submit(LINK)), brush="brush.png")


async def save_handle(client: aw.Client) -> None:
    await use(await client.submit(LINK)).save("clean.jpg")


async def read_upload() -> bytes:
    return b""


ASYNCHRONOUS: dict[str, tuple[Callable[[aw.Client], Awaitable[Any]], str]] = {
    "a client that was never opened": (
        never_open,
        "the client was never opened: use it inside `async with aw.Client(…)",
    ),
    "a client that was closed": (closed, "the client is closed: use it inside `async with aw.Client(…) as client:`"),
    "a receiver on two event loops": (on_another_loop, "make one for each, aw.CallbackReceiver("),
    "awaiting a result": (await_result, "a result that has come is not awaited: `await result.save(path)`"),
    "awaiting a stream": (await_stream, "stream() is not awaited: `async for outcome in client.stream(…):`"),
    "a stream in `for`": (iterate_stream, "stream() is asynchronous: `async for outcome in client.stream(…):`"),
    "refining a result that was not awaited": (
        lambda client: client.refine(use(client.remove(LINK)), brush="brush.png"),
        "remove() was not awaited: `await client.remove(…)`",
    ),
    "refining a handle": (refine_handle, "client.refine(await handle, brush=…)"),
    "saving a handle": (save_handle, "`result = await handle`, then result.save"),
    "submitting an upload that was not awaited": (
        lambda client: client.submit(use(read_upload())),
        "read_upload() was not awaited: `await read_upload(…)`",
    ),
    "a mask that was not awaited": (
        lambda client: client.submit(LINK, mask=use(read_upload())),
        "read_upload() was not awaited: `await read_upload(…)`",
    ),
}


def assert_one_sentence(error: BaseException, line: str) -> None:
    assert line in str(error)
    assert "canary" not in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 240


@pytest.mark.parametrize("name", SYNCHRONOUS)
def test_a_wrong_call_is_answered_with_the_right_line(name: str) -> None:
    call, line = SYNCHRONOUS[name]
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is compared below
        call()
    assert_one_sentence(refused.value, line)


@pytest.mark.parametrize("name", ASYNCHRONOUS)
async def test_a_wrong_use_of_a_client_is_answered_with_the_right_line(name: str) -> None:
    call, line = ASYNCHRONOUS[name]
    async with scripted_client(ScriptedTransport([ACCEPTED], [FINISHED])) as client:
        with pytest.raises((aw.InvalidInput, AttributeError)) as refused:
            await call(client)
    assert_one_sentence(refused.value, line)


async def test_several_outputs_of_one_input_need_no_index() -> None:
    assert await make_result("only").read() == b"first"
    assert await make_result("a", "b", "c").read(index=1) == b"second"


async def test_taking_the_first_of_several_outputs_is_a_warning_that_shows_how_to_take_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await make_result("a", "b", "c").read() == b"first"
    assert "`for number in range(len(result.outputs)): await result.read(index=number)`" in caplog.text


REFUSALS: dict[str, tuple[aw.Provider, tuple[int, dict[str, Any]], type[aw.WatermarkError], str]] = {
    "Kaze": (
        KAZE,
        (200, {"code": 1003, "message": "m"}),
        aw.InsufficientCredits,
        "No credits left at Kaze (code 1003)",
    ),
    "Kaze's key": (KAZE, (200, {"code": 1002}), aw.AuthenticationError, "Kaze does not accept the API key (code 1002)"),
    "Kaze's parameters": (KAZE, (200, {"code": 1000}), aw.Rejected, "Kaze refused the request (code 1000)"),
    "Kaze's server": (KAZE, (200, {"code": 1100}), aw.SubmissionInDoubt, "Kaze reports an internal error (code 1100)"),
    "PicWish": (aw.PicWish("canary-1"), (402, {}), aw.InsufficientCredits, "No credits left at PicWish (HTTP 402)"),
    "PicWish's body": (
        aw.PicWish("canary-1"),
        (200, {"status": 401}),
        aw.AuthenticationError,
        "PicWish does not accept the API key (status 401)",
    ),
    "PicWish's size": (
        aw.PicWish("canary-1"),
        (413, {}),
        aw.Rejected,
        "PicWish refused the file as too large (HTTP 413)",
    ),
    "Dewatermark": (
        aw.Dewatermark("canary-1"),
        (403, {}),
        aw.InsufficientCredits,
        "No credits left at Dewatermark (HTTP 403)",
    ),
    "Photo Eraser": (
        aw.PhotoEraser("canary-1", "canary-2"),
        (200, {"code": 490027}),
        aw.InsufficientCredits,
        "No credits left at Photo Eraser (code 490027)",
    ),
    "gpt.ge's access": (aw.GptGe("canary-1"), (403, {}), aw.AuthenticationError, "gpt.ge denies access (HTTP 403)"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refusal_is_told_in_plain_words_with_the_code_of_the_provider(name: str) -> None:
    provider, (status, payload), kind, text = REFUSALS[name]
    arguments: dict[str, Any] = {"media": LINK}
    if isinstance(provider, aw.PhotoEraser):
        arguments["mask"] = LINK
    if isinstance(provider, aw.Dewatermark):
        arguments = {"media": None, "session_id": "s"}
    async with aw.Client(provider, transport=ScriptedTransport([json_response(status, **payload)])) as client:
        with pytest.raises(kind) as refused:
            await client.remove(**arguments)
    assert text in refused.value.message


async def test_a_deadline_tells_its_seconds_the_last_status_and_the_token() -> None:
    running = json_response(status=200, data={"task_id": "t-1", "state": 4, "progress": 50})
    async with scripted_client(ScriptedTransport([ACCEPTED], [running]), deadline=90) as client:
        with pytest.raises(aw.DeadlineExceeded) as late:
            await client.remove(LINK)
        error = late.value
        assert (error.seconds, error.last_status) == (90, aw.Status.RUNNING)
        assert client.resume(str(error.token)).key == error.key
    assert error.message.endswith("within its deadline of 90 s, its last status is running")
    assert str(error).endswith(f": continue it with client.resume('{error.token}')")


async def test_what_a_callers_input_causes_is_one_class() -> None:
    assert issubclass(aw.Unsupported, aw.InvalidInput)
    async with scripted_client(ScriptedTransport([ACCEPTED])) as client:
        for wrong in ({"mask": b"mask"}, {"key": ""}, {"deadline": -1}):
            with pytest.raises(aw.InvalidInput):
                await client.submit(LINK, **use(wrong))
    eraser = aw.PhotoEraser("canary-1", "canary-2")
    async with aw.Client(eraser, transport=ScriptedTransport()) as client:
        with pytest.raises(aw.InvalidInput):
            await client.credits()


async def test_a_folder_that_does_not_exist_is_named(emulator: Emulator, tmp_path: Path) -> None:
    async with aw.Client(emulator.provider("kaze")) as client:
        result = await client.remove("https://example.com/photo.jpg")
        with pytest.raises(aw.InvalidInput, match=r"the folder .*/out does not exist, create it"):
            await result.save(tmp_path / "out" / "clean.jpg")


async def test_a_scripted_transport_has_the_bytes_that_a_test_lists(tmp_path: Path) -> None:
    transport = ScriptedTransport([ACCEPTED], [FINISHED], downloads=[b"first", b"second"])
    async with scripted_client(transport) as client:
        result = await client.remove(LINK)
        assert await result.read(verify=False) == b"first"
        await result.save(tmp_path / "clean.jpg", verify=False)
    assert (tmp_path / "clean.jpg").read_bytes() == b"second"
