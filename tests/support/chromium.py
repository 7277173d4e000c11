"""Chromium without a window, driven over its DevTools protocol: keys, pointers, and what a page asks and logs."""

from __future__ import annotations

import asyncio
import os
import shutil
from asyncio.subprocess import DEVNULL
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from attrs import define, field

from tests.support.waiting import wait_until

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update"),
)
_MAX_MESSAGE = 64 << 20
TIMEOUT = 60.0
"""Seconds that one command, or the start, may take."""


@define(eq=False)
class Page:
    """One tab. `messages` holds what was logged or thrown, `requests` the URLs it asked for, but data: ones."""

    socket: aiohttp.ClientWebSocketResponse
    session_id: str = ""
    messages: list[str] = field(factory=list)
    requests: list[str] = field(factory=list)
    loaded: asyncio.Event = field(factory=asyncio.Event)
    _numbers: count[int] = field(factory=lambda: count(1))
    _replies: dict[int, asyncio.Future[dict[str, Any]]] = field(factory=dict)

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol and return its result."""
        number = next(self._numbers)
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        session = {"sessionId": self.session_id} if self.session_id else {}
        await self.socket.send_json({"id": number, "method": method, "params": parameters, **session})
        async with asyncio.timeout(TIMEOUT):
            result: dict[str, Any] = await reply
        return result

    async def receive(self) -> None:
        """Read replies and events until the connection ends."""
        async for message in self.socket:
            data = message.json()
            if "id" in data:
                reply = self._replies.pop(data["id"])
                if "error" in data:
                    reply.set_exception(AssertionError(data["error"]))
                else:
                    reply.set_result(data["result"])
            else:
                self._note(data["method"], data["params"])

    def _note(self, event: str, data: dict[str, Any]) -> None:
        match event:
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded":
                self.messages.append(str(data))
            case "Network.requestWillBeSent" if not data["request"]["url"].startswith("data:"):
                self.requests.append(data["request"]["url"])
            case "Page.loadEventFired":
                self.loaded.set()

    async def open(self, path: Path) -> None:
        """Load a file and wait until it is complete."""
        self.loaded.clear()
        await self.send("Page.navigate", url=path.as_uri())
        async with asyncio.timeout(TIMEOUT):
            await self.loaded.wait()

    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited if it is a promise."""
        result = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def resize(self, width: int, height: int, *, dark: bool = False, touch: bool = False) -> None:
        """Set the size of the window, the colour scheme, and whether it is a touch screen."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch
        )
        await self.send("Emulation.setTouchEmulationEnabled", enabled=touch)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def press(self, key: str) -> None:
        """Press and release a key, such as ArrowRight or Tab."""
        codes = {"Tab": 9, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}
        for kind in ("rawKeyDown", "keyUp"):
            await self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes.get(key, 0)
            )

    async def type(self, text: str) -> None:
        """Type a text into what has the focus."""
        await self.send("Input.insertText", text=text)

    async def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag with the mouse."""
        button = {"button": "left", "clickCount": 1}
        await self._mouse("mousePressed", start, **button)
        await self._mouse("mouseMoved", end, **button, buttons=1)
        await self._mouse("mouseReleased", end, **button)

    async def _mouse(self, kind: str, point: tuple[float, float], **options: Any) -> None:
        await self.send("Input.dispatchMouseEvent", type=kind, x=point[0], y=point[1], **options)

    async def swipe(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag with a finger."""
        for kind, points in (("touchStart", [start]), ("touchMove", [end]), ("touchEnd", [])):
            touched = [{"x": x, "y": y} for x, y in points]
            await self.send("Input.dispatchTouchEvent", type=kind, touchPoints=touched)

    async def screenshot(self) -> bytes:
        """Return a PNG of what is visible."""
        return b64decode((await self.send("Page.captureScreenshot"))["data"])


@asynccontextmanager
async def open_page(folder: Path) -> AsyncIterator[Page]:
    """Start Chromium with a new profile in the folder and yield its page; skip the test if it is not installed.

    If the variable `CI` is set, the test fails instead.
    """
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        reason = "chromium is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    profile = folder / "chromium-profile"
    process = await asyncio.create_subprocess_exec(
        program, *_ARGUMENTS, f"--user-data-dir={profile}", "about:blank", stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        port_file = profile / "DevToolsActivePort"
        await wait_until(lambda: port_file.exists() and port_file.read_text().count("\n") >= 1, TIMEOUT)
        port, path = port_file.read_text().split("\n")[:2]
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=_MAX_MESSAGE) as socket,
        ):
            page = Page(socket)
            receiving = asyncio.create_task(page.receive())
            try:
                await _attach(page)
                yield page
            finally:
                receiving.cancel()
                await asyncio.gather(receiving, return_exceptions=True)
    finally:
        process.terminate()
        await process.wait()


async def _attach(page: Page) -> None:
    targets = (await page.send("Target.getTargets"))["targetInfos"]
    target = next(each["targetId"] for each in targets if each["type"] == "page")
    page.session_id = (await page.send("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
    for domain in ("Page", "Runtime", "Log", "Network"):
        await page.send(f"{domain}.enable")
