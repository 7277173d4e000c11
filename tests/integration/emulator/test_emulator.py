"""The emulator as a whole: opening and closing, keys, providers, and images that are really restored."""

from __future__ import annotations

import asyncio
import base64
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from aiowatermark.emulator import Emulator
from aiowatermark.emulator.apis import APIS
from aiowatermark.emulator.pictures import sample_mark, sample_photo, stamp
from aiowatermark.emulator.restoration.pixels import Pixels
from tests.support.images import make_image
from tests.support.processes import run_python
from tests.support.raw_api import RawApi, b64

NAMES = {"gptge", "picwish", "kaze", "photoeraser", "dewatermark"}


def decode_image(data: bytes, flags: int = cv2.IMREAD_COLOR) -> Pixels:
    """Return the pixels of an encoded image, decoded without the emulator's own code."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    assert pixels is not None
    return pixels


def difference(first: bytes, second: bytes) -> float:
    """Return the mean absolute difference of two images."""
    return float(np.mean(cv2.absdiff(decode_image(first), decode_image(second))))


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
            assert (await RawApi(emulator, api.session).submit(name)).status == 200
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
        inner = RawApi(emulator, api.session)
        for _ in range(4):
            await inner.submit_visual(file=sample_photo())
        await inner.upload(await inner.create_ticket(), b"video")
    assert not directory.exists()
    new = {thread for thread in set(threading.enumerate()) - threads if "aiowatermark" in thread.name}
    assert not new


async def test_an_emulator_that_does_not_restore_needs_no_opencv() -> None:
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
    finished = await run_python("-c", code)
    assert finished.code == 0, finished.text
    assert "pip install 'aiowatermark[emulator]'" in finished.out


async def test_a_known_watermark_is_removed_and_the_format_is_kept(restoring_api: RawApi) -> None:
    clean = sample_photo(format="png")
    marked, _ = stamp(clean, sample_mark())
    reply = await restoring_api.submit_visual(file=marked, sync="1")
    restored = await restoring_api.request("GET", reply.data["file"])
    assert restored.headers["Content-Type"] == "image/png"
    assert difference(restored.body, clean) < difference(marked, clean) / 2


async def test_the_known_watermark_can_be_a_path(api: RawApi, tmp_path: Path) -> None:
    path = tmp_path / "mark.png"
    path.write_bytes(sample_mark())
    async with Emulator(mark=path, processing=0) as emulator:
        marked, _ = stamp(sample_photo(), sample_mark())
        await RawApi(emulator, api.session).submit_visual(file=marked, sync="1")
        assert emulator.tasks[0].outputs[0].found


async def test_a_known_watermark_that_cannot_be_searched_for_is_refused_at_the_start(tmp_path: Path) -> None:
    opaque, text = tmp_path / "mark.jpg", tmp_path / "mark.png"
    opaque.write_bytes(sample_photo())
    text.write_text("text")
    for mark, problem in (
        (opaque, "no alpha channel"),
        (sample_photo(format="png"), "no alpha"),
        (text, "not an image"),
    ):
        with pytest.raises(ValueError, match=problem):
            await Emulator(mark=mark).__aenter__()
    async with Emulator(mark=text, restore=False):
        pass


async def test_the_area_under_a_mask_is_removed(restoring_api: RawApi) -> None:
    clean = sample_photo(format="png")
    marked, mask = stamp(clean, sample_mark(), opacity=1.0)
    link = restoring_api.emulator.host(marked, "marked.png")
    reply = await restoring_api.submit_photoeraser(images=[link], mask=b64(mask))
    finished = await restoring_api.query_when_done("photoeraser", reply)
    restored = await restoring_api.request("GET", finished.data["list"][0]["image_result"])
    assert difference(restored.body, clean) < difference(marked, clean)


async def test_a_coloured_smear_is_a_mask_at_kaze(restoring_api: RawApi) -> None:
    clean = sample_photo(format="png")
    marked, mask = stamp(clean, sample_mark(), opacity=1.0)
    pixels = decode_image(mask, cv2.IMREAD_GRAYSCALE)
    smear = np.zeros((*pixels.shape, 3), np.uint8)
    smear[pixels > 127] = (0, 0, 255)
    encoded = cv2.imencode(".png", smear)[1].tobytes()
    body = {"image_base64": b64(marked), "smear_base64": b64(encoded)}
    finished = await restoring_api.query_when_done("kaze", await restoring_api.submit_kaze(**body))
    restored = await restoring_api.request("GET", finished.data["images"][0]["url"])
    assert difference(restored.body, clean) < difference(marked, clean)


async def test_links_with_reserved_names_stand_for_sample_images(restoring_api: RawApi) -> None:
    reply = await restoring_api.submit_visual(url="https://www.example.org/a.jpg", sync="1")
    assert (await restoring_api.request("GET", reply.data["file"])).headers["Content-Type"] == "image/jpeg"
    body = {"image_url": "https://photos.example/a.png", "smear_url": "https://example.com/smear.png"}
    finished = await restoring_api.query_when_done("kaze", await restoring_api.submit_kaze(**body))
    assert finished.data["status"] == "success"
    assert (await restoring_api.submit_visual(url="https://notexample.com/a.png", sync="1")).data["state"] == -3


async def test_a_truncated_image_fails_when_it_is_restored_and_is_not_charged(restoring_api: RawApi) -> None:
    broken = sample_photo(format="png")[:200]
    assert (await restoring_api.submit_visual(file=broken, sync="1")).data["state"] == -7
    truncated = sample_photo(format="jpeg")[:700]
    assert (await restoring_api.submit_dewatermark(original_preview_image=truncated)).status == 400
    assert restoring_api.emulator.charged["dewatermark"] == restoring_api.emulator.charged["picwish"] == 0


async def test_a_refinement_continues_from_the_image_of_its_session(restoring_api: RawApi) -> None:
    clean = sample_photo(width=640, height=480)
    marked, _ = stamp(clean, sample_mark())
    first = (await restoring_api.submit_dewatermark(original_preview_image=marked)).json
    brushes = []
    for left in (100, 400):
        brush = np.zeros((480, 640), np.uint8)
        brush[50:90, left : left + 40] = 255
        brushes.append(cv2.imencode(".png", brush)[1].tobytes())
    second = (
        await restoring_api.submit_dewatermark(
            original_preview_image=base64.b64decode(first["edited_image"]["image"]),
            mask_base=base64.b64decode(first["edited_image"]["mask"]),
            mask_brush=brushes[0],
        )
    ).json
    third = (
        await restoring_api.submit_dewatermark(
            session_id=second["session_id"],
            mask_base=base64.b64decode(second["edited_image"]["mask"]),
            mask_brush=brushes[1],
        )
    ).json
    masks = [
        decode_image(base64.b64decode(body["edited_image"]["mask"]), cv2.IMREAD_GRAYSCALE)
        for body in (first, second, third)
    ]
    assert [bool(mask[70, 120]) for mask in masks] == [False, True, True]
    assert [bool(mask[70, 420]) for mask in masks] == [False, False, True]
    assert masks[0].any()
    assert np.all(masks[2] >= masks[0])


async def test_a_job_that_only_waits_for_its_processing_time_has_no_asyncio_task(api: RawApi) -> None:
    async with Emulator(restore=False, processing=1000) as emulator:
        inner = RawApi(emulator, api.session)
        await asyncio.gather(*(inner.submit_visual(file=make_image()) for _ in range(50)))
        assert len(emulator.tasks) == 50
        assert not emulator._jobs._running
