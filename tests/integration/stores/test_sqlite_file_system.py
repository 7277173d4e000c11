"""Databases on network file systems, which SQLiteStore refuses where it can tell."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest

import aiowatermark as aw
from aiowatermark.stores.sqlite import file_system
from aiowatermark.stores.sqlite.file_system import network_file_system
from tests.support.records import make_record
from tests.support.stores import assert_open_fails


def mounts(*mounted: tuple[str, str]) -> str:
    """Return a mountinfo file with these mount points and types, on a local root."""
    lines = [
        f"{number} 1 0:{number} / {point} rw,relatime shared:{number} master:2 - {kind} source rw"
        for number, (point, kind) in enumerate((("/", "ext4"), ("/proc", "proc"), *mounted), 20)
    ]
    return "\n".join([*lines, ""])


@pytest.mark.parametrize(
    "kind",
    [
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs"),
    ],
)
def test_a_file_below_the_mount_point_of_a_network_is_on_that_network(kind: str) -> None:
    text = mounts(("/mnt/share", kind))
    assert network_file_system(text, PurePath("/mnt/share/a/jobs.db")) == kind
    assert network_file_system(text, PurePath("/mnt/shared/jobs.db")) is None
    assert network_file_system(text, PurePath("/mnt/jobs.db")) is None


@pytest.mark.parametrize(
    "kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "9p", "virtiofs", "fuse", "fuse.x", "nfsd"]
)
def test_other_file_systems_are_local(kind: str) -> None:
    assert network_file_system(mounts(("/mnt/disk", kind)), PurePath("/mnt/disk/jobs.db")) is None


@pytest.mark.parametrize(
    ("mounted", "path", "kind"),
    [
        # the deepest mount point decides, in any order
        ([("/mnt", "nfs4"), ("/mnt/disk", "ext4")], "/mnt/disk/jobs.db", None),
        ([("/mnt/disk", "ext4"), ("/mnt", "nfs4")], "/mnt/disk/jobs.db", None),
        ([("/mnt", "ext4"), ("/mnt/share", "cifs")], "/mnt/share/jobs.db", "cifs"),
        # of two on one point, the last one
        ([("/home/me", "autofs"), ("/home/me", "nfs")], "/home/me/jobs.db", "nfs"),
        ([("/mnt", "nfs"), ("/mnt", "ext4")], "/mnt/jobs.db", None),
        # a network as the root, as diskless machines have it
        ([("/", "nfs")], "/var/jobs.db", "nfs"),
        # a single file that is mounted, as in containers
        ([("/data/jobs.db", "nfs")], "/data/jobs.db", "nfs"),
        # escapes for space, tab, line break, backslash; a character that str.splitlines would split at
        ([(r"/mnt/my\040share", "nfs")], "/mnt/my share/jobs.db", "nfs"),
        ([(r"/mnt/a\011b\012c\134d", "nfs")], "/mnt/a\tb\nc\\d/jobs.db", "nfs"),
        ([(r"/mnt/a\134040b", "nfs")], r"/mnt/a\040b/jobs.db", "nfs"),
        ([("/mnt/a\u2028b\x0c", "nfs")], "/mnt/a\u2028b\x0c/jobs.db", "nfs"),
        ([("/mnt/\udcff", "nfs")], "/mnt/\udcff/jobs.db", "nfs"),
    ],
)
def test_the_visible_mount_decides(mounted: list[tuple[str, str]], path: str, kind: str | None) -> None:
    assert network_file_system(mounts(*mounted), PurePath(path)) == kind


@pytest.mark.parametrize("text", ["", "\n\n", "garbage", "1 2 3 4", " - ", "1 2 0:1 / /mnt rw", "1 2 0:1 / /mnt rw - "])
def test_lines_that_cannot_be_parsed_detect_nothing(text: str) -> None:
    assert network_file_system(text, PurePath("/mnt/jobs.db")) is None


def test_optional_fields_may_be_missing() -> None:
    assert network_file_system("36 35 0:50 / /mnt rw - nfs4 server:/a rw", PurePath("/mnt/jobs.db")) == "nfs4"


async def test_a_store_on_a_network_is_refused_before_anything_is_created(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mountinfo = tmp_path / "mountinfo"
    share = tmp_path / "my share"
    share.mkdir()
    mountinfo.write_text(mounts((str(share).replace(" ", r"\040"), "nfs4")))
    monkeypatch.setattr(file_system, "MOUNTS", mountinfo)
    await assert_open_fails(aw.SQLiteStore(share / "jobs.db"), r"network file system \(nfs4\).*use RedisStore")
    path.symlink_to(share / "jobs.db")
    await assert_open_fails(aw.SQLiteStore(path), "network file system")
    assert list(share.iterdir()) == []
    async with aw.SQLiteStore(tmp_path / "local.db") as store:
        assert await store.open(make_record()) is None


async def test_a_store_opens_where_mounts_cannot_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_system, "MOUNTS", path.with_name("none"))
    async with aw.SQLiteStore(path) as store:
        assert await store.open(make_record()) is None
