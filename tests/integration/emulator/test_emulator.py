"""The emulator as a whole: its life, its keys, its providers, and pictures that are really restored."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import cv2
import numpy as np
import pytest

from aiowatermark.emulator import Emulator
from aiowatermark.emulator.apis import APIS
from aiowatermark.emulator.pictures import sample_mark, sample_photo, stamp

if TYPE_CHECKING:
    from .conftest import Calls

    Difference = Callable[[bytes, bytes], float]

NAMES = {"gptge", "picwish", "kaze", "photoeraser", "dewatermark"}


@pytest.fixture
async def restoring(calls: Calls) -> AsyncIterator[Calls]:
    """An emulator that restores, knowing a mark."""
    async with Emulator(mark=sample_mark(), processing=0) as emulator, aiohttp.ClientSession() as session:
        yield type(calls)(emulator, session)


@pytest.fixture
def difference(calls: Calls) -> Difference:
    """The mean absolute difference of two pictures."""
    return lambda one, other: float(np.mean(cv2.absdiff(calls.pixels(one), calls.pixels(other))))


def test_the_five_dialects_are_found_by_themselves() -> None:
    assert APIS.keys() == NAMES


async def test_keys_are_random_and_do_not_show(calls: Calls) -> None:
    keys = [emulator.keys for emulator in (calls.emulator, Emulator())]
    assert keys[0].keys() == NAMES
    assert isinstance(keys[0]["photoeraser"], tuple)
    for name in NAMES:
        key = keys[0][name]
        assert key != keys[1][name]
        for secret in key if isinstance(key, tuple) else [key]:
            assert secret not in repr(calls.emulator) + repr(keys[0]) + str(keys[0]) + repr(calls.emulator.tasks)


async def test_keys_can_be_chosen(calls: Calls) -> None:
    async with Emulator(restore=False, keys={"kaze": "mine", "photoeraser": ("app", "secret")}) as emulator:
        assert emulator.keys["kaze"] == "mine"
        for name in ("kaze", "photoeraser"):
            assert (await type(calls)(emulator, calls.session).submit(name)).status == 200
    with pytest.raises(ValueError, match="nobody"):
        Emulator(keys={"nobody": "key"})


@pytest.mark.parametrize("name", sorted(NAMES))
async def test_a_provider_is_ready_to_speak_to_the_emulator(calls: Calls, name: str) -> None:
    provider = calls.emulator.provider(name)
    assert provider.name == name
    assert provider.base_url == calls.emulator.base_url
    assert provider.requests_per_second is None
    assert calls.emulator.provider(name, requests_per_second=2.0).requests_per_second == 2.0


async def test_one_port_serves_all_five_and_can_be_chosen(calls: Calls) -> None:
    async with Emulator(restore=False) as emulator:
        port = int(emulator.base_url.rpartition(":")[2])
    async with Emulator(restore=False, port=port) as emulator:
        assert emulator.base_url == f"http://127.0.0.1:{port}"
        with pytest.raises(OSError, match="in use"):
            await Emulator(restore=False, port=port).__aenter__()


async def test_nothing_is_left_behind(calls: Calls) -> None:
    threads = set(threading.enumerate())
    async with Emulator(mark=sample_mark()) as emulator:
        folder = emulator._jobs.objects.directory
        inner = type(calls)(emulator, calls.session)
        for _ in range(4):
            await inner.visual(file=sample_photo())
        await inner.put(await inner.ticket(), b"film")
    assert not folder.exists()
    left = {thread for thread in set(threading.enumerate()) - threads if "aiowatermark" in thread.name}
    assert not left


def test_without_restoring_no_opencv_is_imported() -> None:
    code = """
import asyncio, sys
sys.modules["cv2"] = sys.modules["numpy"] = sys.modules["av"] = None
from aiowatermark.emulator import Emulator
async def main():
    async with Emulator(restore=False):
        pass
    try:
        await Emulator().__aenter__()
    except ModuleNotFoundError as error:
        print(error)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'aiowatermark[emulator]'" in done.stdout


async def test_a_known_mark_is_removed_and_the_format_stays(restoring: Calls, difference: Difference) -> None:
    clean = sample_photo(format="png")
    marked, _ = stamp(clean, sample_mark())
    reply = await restoring.visual(file=marked, sync="1")
    restored = await restoring.ask("GET", reply.data["file"])
    assert restored.headers["Content-Type"] == "image/png"
    assert difference(restored.body, clean) < difference(marked, clean) / 2


async def test_a_mark_may_be_given_as_a_path(calls: Calls, tmp_path: Path) -> None:
    path = tmp_path / "mark.png"
    path.write_bytes(sample_mark())
    async with Emulator(mark=path, processing=0) as emulator:
        marked, _ = stamp(sample_photo(), sample_mark())
        await type(calls)(emulator, calls.session).visual(file=marked, sync="1")
        assert emulator.tasks[0].outputs[0].found


async def test_what_lies_under_a_mask_is_removed(restoring: Calls, difference: Difference) -> None:
    clean = sample_photo(format="png")
    marked, mask = stamp(clean, sample_mark(), opacity=1.0)
    link = restoring.emulator.host(marked, "marked.png")
    reply = await restoring.eraser(images=[link], mask=base64.b64encode(mask).decode())
    done = await restoring.finished("photoeraser", reply)
    restored = await restoring.ask("GET", done.data["list"][0]["image_result"])
    assert difference(restored.body, clean) < difference(marked, clean)


async def test_a_coloured_smear_is_a_mask_at_kaze(restoring: Calls, difference: Difference) -> None:
    clean = sample_photo(format="png")
    marked, mask = stamp(clean, sample_mark(), opacity=1.0)
    pixels = restoring.pixels(mask, cv2.IMREAD_GRAYSCALE)
    smear = np.zeros((*pixels.shape, 3), np.uint8)
    smear[pixels > 127] = (0, 0, 255)
    encoded = cv2.imencode(".png", smear)[1].tobytes()
    body = {"image_base64": base64.b64encode(marked).decode(), "smear_base64": base64.b64encode(encoded).decode()}
    done = await restoring.finished("kaze", await restoring.kaze(**body))
    restored = await restoring.ask("GET", done.data["images"][0]["url"])
    assert difference(restored.body, clean) < difference(marked, clean)


async def test_reserved_names_are_answered_with_samples(restoring: Calls) -> None:
    reply = await restoring.visual(url="https://www.example.org/a.jpg", sync="1")
    assert (await restoring.ask("GET", reply.data["file"])).headers["Content-Type"] == "image/jpeg"
    body = {"image_url": "https://photos.example/a.png", "smear_url": "https://example.com/smear.png"}
    assert (await restoring.finished("kaze", await restoring.kaze(**body))).data["status"] == "success"
    assert (await restoring.visual(url="https://notexample.com/a.png", sync="1")).data["state"] == -3


async def test_a_picture_that_breaks_off_fails_where_it_is_worked_on(restoring: Calls) -> None:
    broken = sample_photo(format="png")[:200]
    assert (await restoring.visual(file=broken, sync="1")).data["state"] == -7
    half = sample_photo(format="jpeg")[:700]
    assert (await restoring.erase(original_preview_image=half)).status == 400
    assert restoring.emulator.charged["dewatermark"] == restoring.emulator.charged["picwish"] == 0


async def test_refinements_go_on_from_the_picture_of_the_session(restoring: Calls) -> None:
    clean = sample_photo(width=640, height=480)
    marked, _ = stamp(clean, sample_mark())
    first = (await restoring.erase(original_preview_image=marked)).json
    brushes = []
    for left in (100, 400):
        brush = np.zeros((480, 640), np.uint8)
        brush[50:90, left : left + 40] = 255
        brushes.append(cv2.imencode(".png", brush)[1].tobytes())
    second = (
        await restoring.erase(
            original_preview_image=base64.b64decode(first["edited_image"]["image"]),
            mask_base=base64.b64decode(first["edited_image"]["mask"]),
            mask_brush=brushes[0],
        )
    ).json
    third = (
        await restoring.erase(
            session_id=second["session_id"],
            mask_base=base64.b64decode(second["edited_image"]["mask"]),
            mask_brush=brushes[1],
        )
    ).json
    masks = [
        restoring.pixels(base64.b64decode(one["edited_image"]["mask"]), cv2.IMREAD_GRAYSCALE)
        for one in (first, second, third)
    ]
    assert [bool(mask[70, 120]) for mask in masks] == [False, True, True]
    assert [bool(mask[70, 420]) for mask in masks] == [False, False, True]
    assert masks[0].any()
    assert np.all(masks[2] >= masks[0])


async def test_many_jobs_wait_without_a_task_of_their_own(calls: Calls) -> None:
    async with Emulator(restore=False, processing=1000) as emulator:
        inner = type(calls)(emulator, calls.session)
        await asyncio.gather(*(inner.visual(file=calls.picture()) for _ in range(50)))
        assert len(emulator.tasks) == 50
        assert not emulator._jobs._running
