"""Checks of `doctor` without processes: advice for every kind of failure, the clock, proxies, addresses, stores."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.request import getproxies

import pytest

import aiowatermark as aw
from aiowatermark.callbacks.probe import ProbeVerdict, check_reachable
from aiowatermark.cli.doctor.advice import advice_for_callback, advice_for_error, advice_for_provider
from aiowatermark.cli.doctor.network_checks import check_callbacks
from aiowatermark.cli.doctor.results import CheckResult, failed
from aiowatermark.cli.doctor.store_checks import check_store
from aiowatermark.cli.doctor.surroundings import check_clock, check_proxies
from aiowatermark.cli.options.callbacks import CallbackOptions
from tests.support.forward_proxy import ForwardProxy
from tests.support.http_server import free_port

KAZE = aw.Kaze("canary-key")
EMULATED = aw.Kaze("canary-key", base_url="http://127.0.0.1:8700")
VERDICTS = [verdict for verdict in ProbeVerdict if verdict is not ProbeVerdict.ARRIVED]
ERRORS = [kind for kind in vars(aw.errors).values() if isinstance(kind, type) and issubclass(kind, aw.WatermarkError)]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names no proxy."""
    for name in getproxies():
        for variable in (f"{name}_proxy", f"{name.upper()}_PROXY"):
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)


async def all_of(results: AsyncIterator[CheckResult]) -> list[CheckResult]:
    return [result async for result in results]


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_way_not_to_be_reached_has_an_advice_at_each_end(verdict: ProbeVerdict) -> None:
    texts = [
        advice_for_provider(verdict, KAZE),
        advice_for_provider(verdict, EMULATED),
        advice_for_callback(verdict, "https://hooks.example.com/wm", "127.0.0.1 port 8080"),
    ]
    assert all(text and "{" not in text and not text.endswith(".") for text in texts)


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_has_an_advice(kind: type[aw.WatermarkError]) -> None:
    error = kind.__new__(kind)
    assert "{" not in advice_for_error(error, KAZE)


@pytest.mark.parametrize(
    ("error", "provider", "advice"),
    [
        (aw.AuthenticationError("no"), KAZE, "set KAZE_API_KEY to the key that Kaze's console shows now"),
        (aw.AuthenticationError("no"), EMULATED, "set KAZE_API_KEY to the key that `aiowatermark emulator` prints"),
        (aw.InsufficientCredits("no"), KAZE, "add credits to your Kaze account"),
        (aw.RateLimited("no"), KAZE, "wait a minute"),
        (aw.ProviderUnavailable("no"), KAZE, "wait some minutes"),
        (aw.UnexpectedAnswer("no"), EMULATED, "check that http://127.0.0.1:8700 is the API of Kaze"),
    ],
)
def test_the_advice_fits_the_error(error: aw.WatermarkError, provider: aw.Provider, advice: str) -> None:
    assert advice_for_error(error, provider).startswith(advice)


def test_a_refused_connection_is_another_matter_at_each_end() -> None:
    assert "firewall" in advice_for_provider(ProbeVerdict.REFUSED, KAZE)
    assert "start `aiowatermark emulator`" in advice_for_provider(ProbeVerdict.REFUSED, EMULATED)
    assert "start the proxy or tunnel on hooks.example.com" in advice_for_callback(
        ProbeVerdict.REFUSED, "https://hooks.example.com/wm", ""
    )


def test_a_json_line_has_a_version_and_the_advice() -> None:
    assert json.loads(failed("it failed", "do this").json_line("store")) == {
        "v": 1,
        "check": "store",
        "ok": False,
        "text": "it failed",
        "advice": "do this",
    }
    assert json.loads(check_clock().json_line("provider"))["check"] == "clock"


@pytest.mark.parametrize(
    ("offset", "ok", "words"),
    [
        (0, True, "the clock agrees with that of host"),
        (60, None, "60 s behind that of host"),
        (-60, None, "60 s ahead of that of host"),
        (86400, False, "86400 s behind that of host"),
    ],
)
def test_the_clock_is_compared_with_the_date_of_a_server(
    monkeypatch: pytest.MonkeyPatch, offset: int, ok: bool | None, words: str
) -> None:
    now = 1_790_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    result = check_clock(format_datetime(datetime.fromtimestamp(now + offset, UTC), usegmt=True), "host")
    assert result.ok is ok
    assert words in result.text
    assert bool(result.advice) is (ok is not True)


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Nov 2026 00:00:00 GMT"])
def test_without_a_date_only_a_clock_in_the_past_is_a_failure(monkeypatch: pytest.MonkeyPatch, date: str) -> None:
    assert check_clock(date, "host").ok
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert check_clock(date, "host").ok is False


async def test_no_proxy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    (result,) = await all_of(check_proxies(None))
    assert result.ok
    assert "no proxy is set" in result.text


async def test_a_proxy_is_tried_and_its_password_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ForwardProxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:canary@127.0.0.1:{proxy.port}")
        (result,) = await all_of(check_proxies(KAZE.base_url))
        assert result.ok
        assert f"the proxy 127.0.0.1:{proxy.port} of HTTPS_PROXY" in result.text
        assert "canary" not in result.line
    (result,) = await all_of(check_proxies(None))
    assert result.ok is False
    assert result.advice == "check HTTPS_PROXY, or unset it"


async def test_a_proxy_that_is_no_url_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:port")
    (result,) = await all_of(check_proxies(KAZE.base_url))
    assert result.ok is False


async def test_a_proxy_for_the_emulator_is_a_failure_unless_it_is_excepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.com:3128")
    (result,) = await all_of(check_proxies(EMULATED.base_url))
    assert (result.ok, result.advice) == (False, "set NO_PROXY=127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (result,) = await all_of(check_proxies(EMULATED.base_url))
    assert result.ok


@pytest.mark.parametrize(
    ("status", "verdict"), [(407, ProbeVerdict.PROXY_REFUSED), (None, ProbeVerdict.PROXY_UNREACHABLE)]
)
async def test_a_failure_of_the_proxy_is_told_from_one_of_the_provider(
    monkeypatch: pytest.MonkeyPatch, status: int | None, verdict: ProbeVerdict
) -> None:
    async with ForwardProxy() as proxy:
        proxy.status = status
        monkeypatch.setenv("HTTPS_PROXY", proxy.url if status else f"http://127.0.0.1:{free_port()}")
        result = await check_reachable("https://kaze.invalid")
    assert result.verdict is verdict


@pytest.mark.parametrize(
    ("url", "addresses", "ok", "words"),
    [
        (
            "http://localhost:1/wm",
            ["127.0.0.1"],
            False,
            "localhost is 127.0.0.1, which is an address that providers, who",
        ),
        (
            "https://192.168.1.5:1/wm",
            ["192.168.1.5"],
            False,
            "192.168.1.5 is an address that providers, who are outside",
        ),
        ("https://hooks.example.com:1/wm", ["10.0.0.5"], None, "which is not public: providers need"),
        ("https://hooks.example.com:1/wm", ["93.184.215.14"], True, "which is an address that providers can reach"),
    ],
)
async def test_an_address_that_providers_cannot_reach_is_told_from_one_that_they_can(
    monkeypatch: pytest.MonkeyPatch, url: str, addresses: list[str], ok: bool | None, words: str
) -> None:
    async def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(2, 1, 6, "", (address, 0)) for address in addresses]

    async def probe(*_: Any) -> Any:
        return await check_reachable("http://127.0.0.1:1")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    monkeypatch.setattr("aiowatermark.cli.doctor.network_checks.probe_callbacks", probe)
    results = await all_of(check_callbacks(CallbackOptions(url, "127.0.0.1", 0), KAZE.base_url))
    assert [result.ok for result in results if words in result.text] == [ok]


async def test_a_callback_url_on_loopback_is_right_for_the_emulator() -> None:
    port = free_port()
    options = CallbackOptions(f"http://127.0.0.1:{port}/wm", "127.0.0.1", port)
    assert [result.ok for result in await all_of(check_callbacks(options, EMULATED.base_url))] == [True, True, True]


@pytest.mark.parametrize(
    ("kind", "ok", "words"),
    [
        ("ext4", True, "is on ext4: what was written survives a crash"),
        ("tmpfs", None, "in memory"),
        ("overlay", None, "in the layer of a container"),
        ("nfs4", False, "is on a network file system (nfs4)"),
    ],
)
async def test_the_durability_of_a_file_depends_on_its_file_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, ok: bool | None, words: str
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"36 35 98:0 / / rw,noatime - {kind} /dev/root rw\n")
    monkeypatch.setattr("aiowatermark.stores.sqlite.file_system.MOUNTS", mounts)
    results = await all_of(check_store(str(tmp_path / "jobs.db")))
    (found,) = [result for result in results if words in result.text]
    assert found.ok is ok
    assert bool(found.advice) is (ok is not True)
    assert [path.name for path in tmp_path.iterdir()] == ["mounts"]


async def test_a_store_that_others_can_read_is_remarked(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with aw.SQLiteStore(path):
        pass
    path.chmod(0o644)
    results = await all_of(check_store(str(path)))
    assert [result.advice for result in results if "can read" in result.text] == [f"chmod 600 {path}"]


@pytest.mark.parametrize(
    ("location", "advice"),
    [
        ("missing/jobs.db", "create that folder, or give the --store another path"),
        ("text.db", "give the --store another file name"),
        (".", "give the --store the name of a file in it"),
        ("redis://127.0.0.1:1", "start the server at redis://127.0.0.1:1, and check host, port and password"),
        ("nonsense://host", "correct the --store: a path, or redis://host:port/number"),
    ],
)
async def test_the_advice_fits_what_is_wrong_with_a_store(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, location: str, advice: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.db").write_text("text")
    (result,) = await all_of(check_store(location))
    assert (result.ok, result.advice) == (False, advice)
    assert "/." not in result.text, "the name under which a new store is tried out is not shown"
