"""The emulator as a whole: opening and closing, keys, providers, and images that are really restored."""

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
    from .conftest import RawApi

    Difference = Callable[[bytes, bytes], float]

NAMES = {"gptge", "picwish", "kaze", "photoeraser", "dewatermark"}


@pytest.fixture
async def restoring(api: RawApi) -> AsyncIterator[RawApi]:
    """An emulator that restores, with a known watermark."""
    async with Emulator(mark=sample_mark(), processing=0) as emulator, aiohttp.ClientSession() as session:
        yield type(api)(emulator, session)


@pytest.fixture
def difference(api: RawApi) -> Difference:
    """The mean absolute difference of two images."""
    return lambda first, second: float(np.mean(cv2.absdiff(api.decode(first), api.decode(second))))


def test_the_five_apis_are_found_without_a_list() -> None:
    assert APIS.keys() == NAMES


async def test_keys_are_random_and_never_appear_in_a_repr(api: RawApi) -> None:
    keys = [emulator.keys for emulator in (api.emulator, Emulator())]
    assert keys[0].keys() == NAMES
    assert isinstance(keys[0]["photoeraser"], tuple)
    for name in NAMES:
        key = keys[0][name]
        assert key != keys[1][name]
        for secret in key if isinstance(key, tuple) else [key]:
            assert secret not in repr(api.emulator) + repr(keys[0]) + str(keys[0]) + repr(api.emulator.tasks)


async def test_keys_can_be_chosen(api: RawApi) -> None:
    async with Emulator(restore=False, keys={"kaze": "mine", "photoeraser": ("app", "secret")}) as emulator:
        assert emulator.keys["kaze"] == "mine"
        for name in ("kaze", "photoeraser"):
            assert (await type(api)(emulator, api.session).submit(name)).status == 200
    with pytest.raises(ValueError, match="unknown"):
        Emulator(keys={"unknown": "key"})


@pytest.mark.parametrize("name", sorted(NAMES))
async def test_a_provider_is_configured_for_the_emulator(api: RawApi, name: str) -> None:
    provider = api.emulator.provider(name)
    assert provider.name == name
    assert provider.base_url == api.emulator.base_url
    assert provider.requests_per_second is None
    assert api.emulator.provider(name, requests_per_second=2.0).requests_per_second == 2.0


async def test_one_port_serves_all_five_apis_and_can_be_chosen(api: RawApi) -> None:
    async with Emulator(restore=False) as emulator:
        port = int(emulator.base_url.rpartition(":")[2])
    async with Emulator(restore=False, port=port) as emulator:
        assert emulator.base_url == f"http://127.0.0.1:{port}"
        with pytest.raises(OSError, match="in use"):
            await Emulator(restore=False, port=port).__aenter__()


async def test_closing_leaves_no_thread_and_no_file(api: RawApi) -> None:
    threads = set(threading.enumerate())
    async with Emulator(mark=sample_mark()) as emulator:
        directory = emulator._jobs.objects.directory
        inner = type(api)(emulator, api.session)
        for _ in range(4):
            await inner.submit_visual(file=sample_photo())
        await inner.upload(await inner.create_ticket(), b"video")
    assert not directory.exists()
    new = {thread for thread in set(threading.enumerate()) - threads if "aiowatermark" in thread.name}
    assert not new


def test_an_emulator_that_does_not_restore_needs_no_opencv() -> None:
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
    completed = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'aiowatermark[emulator]'" in completed.stdout


async def test_a_known_watermark_is_removed_and_the_format_is_kept(restoring: RawApi, difference: Difference) -> None:
    clean = sample_photo(format="png")
    marked, _ = stamp(clean, sample_mark())
    reply = await restoring.submit_visual(file=marked, sync="1")
    restored = await restoring.request("GET", reply.data["file"])
    assert restored.headers["Content-Type"] == "image/png"
    assert difference(restored.body, clean) < difference(marked, clean) / 2


async def test_the_known_watermark_can_be_a_path(api: RawApi, tmp_path: Path) -> None:
    path = tmp_path / "mark.png"
    path.write_bytes(sample_mark())
    async with Emulator(mark=path, processing=0) as emulator:
        marked, _ = stamp(sample_photo(), sample_mark())
        await type(api)(emulator, api.session).submit_visual(file=marked, sync="1")
        assert emulator.tasks[0].outputs[0].found


async def test_the_area_under_a_mask_is_removed(restoring: RawApi, difference: Difference) -> None:
    clean = sample_photo(format="png")
    marked, mask = stamp(clean, sample_mark(), opacity=1.0)
    link = restoring.emulator.host(marked, "marked.png")
    reply = await restoring.submit_photoeraser(images=[link], mask=base64.b64encode(mask).decode())
    finished = await restoring.query_when_done("photoeraser", reply)
    restored = await restoring.request("GET", finished.data["list"][0]["image_result"])
    assert difference(restored.body, clean) < difference(marked, clean)


async def test_a_coloured_smear_is_a_mask_at_kaze(restoring: RawApi, difference: Difference) -> None:
    clean = sample_photo(format="png")
    marked, mask = stamp(clean, sample_mark(), opacity=1.0)
    pixels = restoring.decode(mask, cv2.IMREAD_GRAYSCALE)
    smear = np.zeros((*pixels.shape, 3), np.uint8)
    smear[pixels > 127] = (0, 0, 255)
    encoded = cv2.imencode(".png", smear)[1].tobytes()
    body = {"image_base64": base64.b64encode(marked).decode(), "smear_base64": base64.b64encode(encoded).decode()}
    finished = await restoring.query_when_done("kaze", await restoring.submit_kaze(**body))
    restored = await restoring.request("GET", finished.data["images"][0]["url"])
    assert difference(restored.body, clean) < difference(marked, clean)


async def test_links_with_reserved_names_stand_for_sample_images(restoring: RawApi) -> None:
    reply = await restoring.submit_visual(url="https://www.example.org/a.jpg", sync="1")
    assert (await restoring.request("GET", reply.data["file"])).headers["Content-Type"] == "image/jpeg"
    body = {"image_url": "https://photos.example/a.png", "smear_url": "https://example.com/smear.png"}
    assert (await restoring.query_when_done("kaze", await restoring.submit_kaze(**body))).data["status"] == "success"
    assert (await restoring.submit_visual(url="https://notexample.com/a.png", sync="1")).data["state"] == -3


async def test_a_truncated_image_fails_when_it_is_restored_and_is_not_charged(restoring: RawApi) -> None:
    broken = sample_photo(format="png")[:200]
    assert (await restoring.submit_visual(file=broken, sync="1")).data["state"] == -7
    truncated = sample_photo(format="jpeg")[:700]
    assert (await restoring.submit_dewatermark(original_preview_image=truncated)).status == 400
    assert restoring.emulator.charged["dewatermark"] == restoring.emulator.charged["picwish"] == 0


async def test_a_refinement_continues_from_the_image_of_its_session(restoring: RawApi) -> None:
    clean = sample_photo(width=640, height=480)
    marked, _ = stamp(clean, sample_mark())
    first = (await restoring.submit_dewatermark(original_preview_image=marked)).json
    brushes = []
    for left in (100, 400):
        brush = np.zeros((480, 640), np.uint8)
        brush[50:90, left : left + 40] = 255
        brushes.append(cv2.imencode(".png", brush)[1].tobytes())
    second = (
        await restoring.submit_dewatermark(
            original_preview_image=base64.b64decode(first["edited_image"]["image"]),
            mask_base=base64.b64decode(first["edited_image"]["mask"]),
            mask_brush=brushes[0],
        )
    ).json
    third = (
        await restoring.submit_dewatermark(
            session_id=second["session_id"],
            mask_base=base64.b64decode(second["edited_image"]["mask"]),
            mask_brush=brushes[1],
        )
    ).json
    masks = [
        restoring.decode(base64.b64decode(body["edited_image"]["mask"]), cv2.IMREAD_GRAYSCALE)
        for body in (first, second, third)
    ]
    assert [bool(mask[70, 120]) for mask in masks] == [False, True, True]
    assert [bool(mask[70, 420]) for mask in masks] == [False, False, True]
    assert masks[0].any()
    assert np.all(masks[2] >= masks[0])


async def test_a_job_that_only_waits_for_its_processing_time_has_no_asyncio_task(api: RawApi) -> None:
    async with Emulator(restore=False, processing=1000) as emulator:
        inner = type(api)(emulator, api.session)
        await asyncio.gather(*(inner.submit_visual(file=api.image()) for _ in range(50)))
        assert len(emulator.tasks) == 50
        assert not emulator._jobs._running
