"""What the servers of the emulator answer where no API is."""

from __future__ import annotations

import aiohttp
import pytest

import aiowatermark as aw
from aiowatermark.emulator import Emulator


async def get(url: str, method: str = "GET") -> tuple[int, str, str]:
    """Return the status, the type and the text of an answer."""
    async with aiohttp.ClientSession() as session, session.request(method, url) as response:
        return response.status, response.content_type, await response.text()


async def test_the_base_url_says_what_it_is_which_apis_it_serves_and_how_to_use_them(emulator: Emulator) -> None:
    status, kind, text = await get(f"{emulator.base_url}/")
    assert (status, kind) == (200, "text/plain")
    assert text.startswith("aiowatermark emulator\n")
    assert f"The base URL of each of them is {emulator.base_url}\n" in text
    for name in aw.provider_names():
        provider = aw.provider_class(name)
        (row,) = [line for line in text.splitlines() if line.startswith(f"  {provider.display_name} ")]
        assert row.split()[-1 - len(provider.env)] == name
        assert all(variable in row for variable in provider.env.values())
    assert f"export AIOWATERMARK_BASE_URL={emulator.base_url}\n" in text
    assert 'Documentation of aiowatermark: "The emulator"' in text
    assert max(map(len, text.splitlines())) <= 81


async def test_the_page_shows_no_key(emulator: Emulator) -> None:
    _, _, text = await get(f"{emulator.base_url}/")
    keys = [
        key
        for credential in emulator.keys.values()
        for key in ([credential] if isinstance(credential, str) else credential)
    ]
    assert [key for key in keys if key in text] == []


async def test_the_storage_says_what_it_is_and_where_the_apis_are(emulator: Emulator) -> None:
    status, kind, text = await get(f"{emulator.storage_url}/")
    assert (status, kind) == (200, "text/plain")
    assert "storage of the aiowatermark emulator" in text
    assert f"The APIs are at {emulator.base_url}\n" in text


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/nothing", "/api/", "/task/a/b/c"])
async def test_an_unknown_path_is_a_404_that_names_the_page(emulator: Emulator, method: str, path: str) -> None:
    for origin in (emulator.base_url, emulator.storage_url):
        status, _, text = await get(f"{origin}{path}", method)
        assert status == 404
        assert text == "404: nothing is emulated at this path; / says what is\n"
