"""Refuses databases on network file systems, where a lock may not be seen by other machines (detected on Linux)."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from ...errors import StoreError

MOUNTS = Path("/proc/self/mountinfo")
"""The mounted file systems of this process, as proc(5) describes them."""

# neither FUSE in general nor 9p: both also serve local files
_NETWORK = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs"),
    *("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs"),
}
_OCTAL = re.compile(r"\\([0-7]{3})")


def check_local(path: Path) -> None:
    """Raise StoreError if the resolved `path` is on a network file system; what cannot be detected is accepted."""
    if (kind := file_system_of(path)) in _NETWORK:
        raise StoreError(
            f"the store {path} is on a network file system ({kind}), where the locks that keep a job from being charged"
            " twice are not reliable: use RedisStore, or a file on a local disk"
        )


def file_system_of(path: Path) -> str:
    """Return the type of the file system that contains the resolved `path`; empty if that is not known."""
    try:
        # file names in it may have any encoding
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    return _file_system(mounts, path)


def network_file_system(mounts: str, path: PurePath) -> str | None:
    """Return the type of the file system that contains the absolute `path`, if it is one of a network."""
    kind = _file_system(mounts, path)
    return kind if kind in _NETWORK else None


def _file_system(mounts: str, path: PurePath) -> str:
    """Return the type of the file system that contains the absolute `path`; empty if `mounts` does not tell.

    `mounts` has a line for each mount; the mount point is its fifth field, and the type follows a lone "-":

        36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    """
    depth, kind = 0, ""
    # not splitlines(), which also splits at characters that a mount point may contain
    for line in mounts.split("\n"):
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ", 1)
        mount = PurePath(_unescape(fields[4] if len(fields) > 4 else ""))
        # of several mounts on one point the last is visible
        if path.is_relative_to(mount) and len(mount.parts) >= depth:
            depth, kind = len(mount.parts), kinds[0]
    return kind


def _unescape(text: str) -> str:
    r"""Replace octal escapes, such as \040 for a space."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
