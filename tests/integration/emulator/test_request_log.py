"""The observer of the emulator's requests."""

from __future__ import annotations

import aiohttp
import pytest

import aiowatermark as aw
from aiowatermark.emulator import Emulator, Fault, ServedRequest, pictures


@pytest.fixture
def served() -> list[ServedRequest]:
    """The requests that the observer was told of."""
    return []


def emulator_with(served: list[ServedRequest]) -> Emulator:
    return Emulator(restore=False, processing=0, on_request=served.append)


async def test_each_request_is_told_with_its_job_and_its_charge(served: list[ServedRequest]) -> None:
    async with emulator_with(served) as emulator, aw.Client(emulator.provider("picwish")) as client:
        handle = await client.submit(pictures.sample_photo())
        await (await handle).read()
    api = "/api/tasks/visual/external/watermark-remove"
    submitted, queried, *downloads = served
    assert (submitted.method, submitted.path, submitted.status, submitted.charges) == ("POST", api, 200, 1)
    assert (queried.method, queried.path, queried.status, queried.charges) == ("GET", f"{api}/{handle.task_id}", 200, 0)
    assert submitted.task_id == queried.task_id == handle.task_id
    assert [(download.status, download.task_id, download.charges) for download in downloads] == [(200, None, 0)]
    assert all(request.seconds >= 0 for request in served)


async def test_a_path_is_told_without_its_query_and_cut(served: list[ServedRequest]) -> None:
    async with emulator_with(served) as emulator, aiohttp.ClientSession() as session:
        async with session.get(f"{emulator.base_url}/task/none?signature=canary") as response:
            assert response.status == 401
        async with session.get(f"{emulator.base_url}/{'a' * 4000}") as response:
            assert response.status == 404
    assert [(request.path[:11], len(request.path), request.status) for request in served] == [
        ("/task/none", 10, 401),
        ("/aaaaaaaaaa", 200, 404),
    ]


async def test_a_request_whose_connection_was_closed_has_no_status(served: list[ServedRequest]) -> None:
    async with emulator_with(served) as emulator, aw.Client(emulator.provider("kaze")) as client:
        emulator.inject(Fault.dropped_after(), provider="kaze", step="submit")
        with pytest.raises(aw.SubmissionInDoubt):
            await client.submit(pictures.sample_photo())
    assert [(request.status, request.charges) for request in served] == [(None, 1)]


async def test_a_charge_that_is_refunded_in_the_same_request_is_not_told(served: list[ServedRequest]) -> None:
    async with emulator_with(served) as emulator, aiohttp.ClientSession() as session:
        form = aiohttp.FormData({"sync": "1"})
        form.add_field("file", b"no image", filename="photo.jpg")
        headers = {"X-API-KEY": str(emulator.keys["picwish"])}
        url = f"{emulator.base_url}/api/tasks/visual/external/watermark-remove"
        async with session.post(url, data=form, headers=headers) as response:
            assert response.status == 200
        assert emulator.refunded["picwish"] == 1
    assert [request.charges for request in served] == [0]
