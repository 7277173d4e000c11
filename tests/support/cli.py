"""Runs the command line in processes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from attrs import define, field

import aiowatermark
from aiowatermark.emulator import Emulator
from tests.support.processes import Finished, Running, start_python

_WITHOUT_ROOT = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Runs a program as root that respects the permissions of files, as any other user."""

without_root_permissions = pytest.mark.skipif(
    os.name != "posix" or (os.geteuid() == 0 and shutil.which("setpriv") is None),
    reason="root may write everywhere, and there is no setpriv to give that up",
)
"""Marks tests that run the command line with `drop_root_permissions`."""


@define(eq=False)
class Cli:
    """Starts `aiowatermark` in a temporary folder; the environment holds no API keys but those in `env`.

    With `drop_root_permissions` a process of root respects the permissions of files.
    """

    folder: Path
    env: dict[str, str] = field(factory=dict)
    drop_root_permissions: bool = False
    started: list[Running] = field(factory=list)

    def use_keys_of(self, emulator: Emulator) -> None:
        """Put an emulator's keys into the environment of processes started from now on."""
        for name, credential in emulator.keys.items():
            values = (credential,) if isinstance(credential, str) else credential
            self.env |= dict(zip(aiowatermark.provider_class(name).env.values(), values, strict=True))

    async def start(self, *args: str | Path, code: str | None = None) -> Running:
        """Start a process with these arguments; `code` is run instead of the package's main module."""
        program = ("-m", "aiowatermark") if code is None else ("-c", code)
        before = _WITHOUT_ROOT if self.drop_root_permissions and os.geteuid() == 0 else ()
        running = await start_python(*program, *args, folder=self.folder, variables=self.env, before=before)
        self.started.append(running)
        return running

    async def __call__(self, *args: str | Path, stdin: str = "", code: str | None = None) -> Finished:
        """Run a process until it ends."""
        return await (await self.start(*args, code=code)).finish(stdin)

    async def kill_all(self) -> None:
        """Kill the processes that still run."""
        for running in self.started:
            if running.process.returncode is None:
                await running.kill()
