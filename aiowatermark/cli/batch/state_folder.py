"""State folder: `.aiowatermark` in the output folder, where the command line keeps what repeats nothing and pays once.

    .aiowatermark/jobs.db          the store of jobs, unless --store names another one; with its companions
    .aiowatermark/manifest.db      which file holds the result of which job (see manifest)

Others may be able to write to the output folder. What they put in the place of these files must not be followed: the
folder must be a real one, and nothing in it a symbolic link.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from attrs import frozen

NAME = ".aiowatermark"


@frozen
class StateFolder:
    """The state folder of an output folder."""

    output: Path

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.output / NAME

    @property
    def store(self) -> Path:
        """The store of jobs that is used unless --store names another one."""
        return self.path / "jobs.db"

    @property
    def manifest(self) -> Path:
        """The manifest of results."""
        return self.path / "manifest.db"

    def exists(self) -> bool:
        """Whether an earlier run has left something there; raises OSError for what must not be followed."""
        if not os.path.lexists(self.path):
            return False
        self.check()
        return self.manifest.exists()

    def prepare(self) -> None:
        """Create the folder, readable by its owner only; raises OSError if something else is in its place."""
        # the store holds links to paid results
        self.path.mkdir(mode=0o700, exist_ok=True)
        self.check()

    def check(self) -> None:
        """Raise OSError if the folder is not a folder, or one of the files in it is a symbolic link or the like."""
        found = self.path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise OSError(errno.ENOTDIR, f"{NAME} in it is not a folder")
        if hasattr(os, "geteuid") and os.geteuid() not in {found.st_uid, 0}:
            raise OSError(errno.EPERM, f"{NAME} in it belongs to another user")
        for path in self.path.iterdir():
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise OSError(errno.ELOOP, f"{NAME}/{path.name} in it is not a regular file")
