"""LockedOwners: which clients of a SQLite store are alive, over real processes and forks."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.jobs import Record
from aiowatermark.stores.sqlite import owners as owners_module
from aiowatermark.stores.sqlite.owners import LockedOwners
from tests.support.processes import Running, running_python
from tests.support.records import make_record
from tests.support.waiting import wait_until

CHILD = Path(__file__).with_name("owner_child.py")
OLD_OWNER = f"{'0' * 32}@host:1"
"""An owner as earlier versions named it, which locked no file."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the owners' files, which does not exist yet."""
    return tmp_path / "jobs.db-owners"


@pytest.fixture
async def owners(folder: Path) -> AsyncIterator[LockedOwners]:
    """Owners in that folder; those that the test leaves registered are unregistered."""
    yield LockedOwners(folder)
    for used, owner in list(owners_module._held):
        await LockedOwners(used).unregister(owner)


def record_of(owner: str) -> Record:
    return make_record(owner=owner)


def list_files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def leave_dead_owner(owners: LockedOwners, owner: str) -> Path:
    """Create the file of an owner whose process has died."""
    owners.folder.mkdir(exist_ok=True)
    path = owners._path(owner)
    path.touch()
    return path


@contextmanager
def locked(path: Path, kind: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Create the file, if necessary, and hold its lock, as another process would."""
    with path.open("a") as file:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
        yield


def is_locked(path: Path) -> bool:
    try:
        with locked(path):
            return False
    except BlockingIOError:
        return True


@asynccontextmanager
async def running_owner(folder: Path, owner: str = "other") -> AsyncIterator[Running]:
    """A process that has registered this owner; its own children end with the context, too."""
    async with running_python(CHILD, folder, owner) as running:
        assert await running.read_line() == "registered"
        try:
            yield running
        finally:
            assert running.process.stdin is not None
            running.process.stdin.close()


async def command(running: Running, word: str) -> None:
    """Have the process carry out a command, until it says that it did."""
    running.write_line(word)
    assert await running.read_line() == word


async def kill(running: Running) -> None:
    """Kill the process, and wait until it has ended; its children may live on."""
    running.process.kill()
    # wait() would also wait for the end of its output, which its children share
    await wait_until(lambda: running.process.returncode is not None)


# owners in other processes


async def test_an_owner_is_gone_when_its_process_was_killed(folder: Path, owners: LockedOwners) -> None:
    async with running_owner(folder) as running:
        assert not await owners.is_gone(record_of("other"))
        await kill(running)
        assert await owners.is_gone(record_of("other"))
        assert list_files(folder) == []
        assert await owners.is_gone(record_of("other"))


async def test_an_owner_whose_process_is_stopped_is_alive(folder: Path, owners: LockedOwners) -> None:
    async with running_owner(folder) as running:
        running.process.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(os.waitid, os.P_PID, running.process.pid, os.WSTOPPED | os.WNOWAIT)
        assert not await owners.is_gone(record_of("other"))
        running.process.send_signal(signal.SIGCONT)
        await command(running, "unregister")
        assert await owners.is_gone(record_of("other"))


async def test_an_owner_that_was_unregistered_is_gone_while_its_process_lives(
    folder: Path, owners: LockedOwners
) -> None:
    async with running_owner(folder) as running:
        await command(running, "unregister")
        assert list_files(folder) == []
        assert await owners.is_gone(record_of("other"))
        assert running.process.returncode is None


# children of an owner's process


@pytest.mark.parametrize("child", ["fork", "start-program"])
async def test_a_child_does_not_keep_the_owner_of_its_dead_parent_alive(
    folder: Path, owners: LockedOwners, child: str
) -> None:
    async with running_owner(folder) as running:
        await command(running, child)
        assert not await owners.is_gone(record_of("other"))
        await kill(running)
        assert await owners.is_gone(record_of("other"))


async def test_a_child_that_closes_the_client_it_inherited_does_not_end_the_owner_of_its_parent(
    folder: Path, owners: LockedOwners
) -> None:
    async with running_owner(folder) as running:
        await command(running, "fork-and-end")
        assert not await owners.is_gone(record_of("other"))
        assert len(list_files(folder)) == 1


async def test_a_child_sees_that_its_parent_died(folder: Path) -> None:
    async with running_owner(folder) as running:
        await command(running, "fork-observer")
        await kill(running)
        assert await running.read_line() == "gone"


async def test_an_owner_of_a_child_outlives_the_parent(folder: Path, owners: LockedOwners) -> None:
    async with running_owner(folder) as running:
        await command(running, "fork-client")
        await kill(running)
        assert await owners.is_gone(record_of("other"))
        assert not await owners.is_gone(record_of("child of other"))
    await wait_until(lambda: not any(map(is_locked, list_files(folder))))
    assert await owners.is_gone(record_of("child of other"))


async def test_a_fork_during_a_registration_passes_no_lock_to_the_child(folder: Path, owners: LockedOwners) -> None:
    async with running_owner(folder) as running:
        await command(running, "fork-while-registering")
        assert not await owners.is_gone(record_of("second"))
        await kill(running)
        assert await owners.is_gone(record_of("second"))


# owners in one process


async def test_two_owners_of_one_process_see_each_other_alive(folder: Path, owners: LockedOwners) -> None:
    other = LockedOwners(folder)
    await owners.register("one")
    await owners.register("two")
    await other.register("three")
    for each in (owners, other, LockedOwners(folder.parent / "." / folder.name)):
        assert [await each.is_gone(record_of(name)) for name in ("one", "two", "three")] == [False] * 3
    await owners.unregister("one")
    for each in (owners, other):
        assert [await each.is_gone(record_of(name)) for name in ("one", "two", "three")] == [True, False, False]


async def test_an_owner_of_this_process_holds_its_lock_although_another_test_of_it_was_closed(
    folder: Path, owners: LockedOwners
) -> None:
    await owners.register("mine")
    (file,) = list_files(folder)
    assert is_locked(file)
    assert not owners_module._is_unlocked(file, remove=True)
    assert is_locked(file)


async def test_owners_of_this_process_are_known_without_files(folder: Path, owners: LockedOwners) -> None:
    await owners.register("mine")
    folder.rename(folder.with_name("elsewhere"))
    assert not await owners.is_gone(record_of("mine"))
    await owners.unregister("mine")
    assert await owners.is_gone(record_of("mine"))


async def test_file_operations_run_outside_the_event_loop(
    owners: LockedOwners, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()
    open_file = os.open

    def open_and_note(*arguments: Any) -> int:
        threads.add(threading.current_thread())
        return open_file(*arguments)

    monkeypatch.setattr(os, "open", open_and_note)
    await owners.register("mine")
    await owners.is_gone(record_of("other"))
    await owners.unregister("mine")
    assert threads
    assert threading.main_thread() not in threads


async def test_a_name_that_is_in_use_is_refused(owners: LockedOwners, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners_module, "_RETRY_SECONDS", 0.0)
    await owners.register("mine")
    with pytest.raises(aw.StoreError, match="name of its own"):
        await owners.register("mine")
    assert not await owners.is_gone(record_of("mine"))


async def test_a_cancelled_registration_leaves_no_owner(
    folder: Path, owners: LockedOwners, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[str] = []
    unlink = os.unlink

    def unlink_and_note(path: Any, **rest: Any) -> None:
        unlink(path, **rest)
        removed.append(path)

    monkeypatch.setattr(os, "unlink", unlink_and_note)
    registration = asyncio.create_task(owners.register("mine"))
    await asyncio.sleep(0)
    registration.cancel()
    with pytest.raises(asyncio.CancelledError):
        await registration
    await wait_until(lambda: bool(removed) and not owners_module._held and not list_files(folder))
    assert await owners.is_gone(record_of("mine"))


async def test_a_cancelled_closing_is_completed(folder: Path, owners: LockedOwners) -> None:
    await owners.register("mine")
    closing = asyncio.create_task(owners.unregister("mine"))
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await wait_until(lambda: not list_files(folder))
    assert await owners.is_gone(record_of("mine"))


# names and files


@pytest.mark.parametrize("owner", ["../../jobs.db", "a/b", "/etc/passwd", ".", "\0", "\ud800", "x" * 10_000, OLD_OWNER])
async def test_any_owner_in_a_record_leads_only_to_a_file_in_the_folder(
    folder: Path, owners: LockedOwners, owner: str
) -> None:
    assert await owners.is_gone(record_of(owner))
    await owners.register(owner)
    assert not await owners.is_gone(record_of(owner))
    (file,) = list_files(folder)
    assert is_locked(file)
    assert set(file.name) <= set("0123456789abcdef")
    await owners.unregister(owner)
    assert list(folder.parent.iterdir()) == [folder]


async def test_a_record_without_an_owner_is_never_anybodys(owners: LockedOwners) -> None:
    assert await owners.is_gone(record_of(""))


async def test_only_this_user_can_read_the_folder_and_its_files(folder: Path, owners: LockedOwners) -> None:
    await owners.register("mine")
    (file,) = list_files(folder)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, file)] == [0o700, 0o600]


async def test_an_owner_whose_file_cannot_be_read_is_not_taken_for_gone(folder: Path, owners: LockedOwners) -> None:
    folder.touch()  # a file in place of the folder
    assert not await owners.is_gone(record_of("other"))
    with pytest.raises(aw.StoreError, match=r"jobs\.db-owners cannot be used"):
        await owners.register("mine")


async def test_on_a_file_system_without_locks_a_client_is_refused_and_no_owner_is_gone(
    owners: LockedOwners, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, kind: int) -> None:
        raise OSError(37, "No locks available")

    leave_dead_owner(owners, "other")
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert not await owners.is_gone(record_of("other"))
    with pytest.raises(aw.StoreError, match="No locks available"):
        await owners.register("mine")


# removing the files of dead owners


def before_lock(monkeypatch: pytest.MonkeyPatch, kind: int, action: Callable[[], object]) -> None:
    """Call `action` once, right before the next lock of that kind is taken: as another process might do."""
    try_lock, actions = owners_module._try_lock, [action]

    def act_and_lock(descriptor: int, wanted: int) -> bool:
        if wanted == kind and actions:
            actions.pop()()
        return try_lock(descriptor, wanted)

    monkeypatch.setattr(owners_module, "_try_lock", act_and_lock)


async def test_a_client_whose_new_file_is_removed_before_it_is_locked_makes_another(
    folder: Path, owners: LockedOwners, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = owners._path("mine")
    before_lock(monkeypatch, fcntl.LOCK_EX, path.unlink)
    await owners.register("mine")
    assert list_files(folder) == [path]
    assert is_locked(path)


async def test_a_client_waits_while_its_new_file_is_tested(
    owners: LockedOwners, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = leave_dead_owner(owners, "mine")
    test = locked(path, fcntl.LOCK_SH)
    test.__enter__()
    monkeypatch.setattr(time, "sleep", lambda _: test.__exit__(None, None, None))
    await owners.register("mine")
    assert is_locked(path)


async def test_the_file_of_a_client_that_took_the_place_of_a_dead_one_is_not_removed(
    folder: Path, owners: LockedOwners, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = leave_dead_owner(owners, "other")

    def replace() -> None:
        path.rename(path.with_name("kept"))  # kept, so that its inode is not used again
        path.touch()

    before_lock(monkeypatch, fcntl.LOCK_EX, replace)
    assert await owners.is_gone(record_of("other"))
    assert path.exists()


async def test_a_dead_owner_is_gone_while_another_process_tests_it_too(owners: LockedOwners) -> None:
    path = leave_dead_owner(owners, "other")
    with locked(path, fcntl.LOCK_SH):
        assert await owners.is_gone(record_of("other"))
        assert path.exists()
    assert await owners.is_gone(record_of("other"))
    assert not path.exists()


async def test_owners_that_come_and_go_keep_their_files_while_others_test_and_sweep(
    folder: Path, owners: LockedOwners
) -> None:
    async with running_owner(folder) as running:
        churning = asyncio.create_task(command(running, "churn"))
        while not churning.done():
            await owners.is_gone(record_of("second"))
            await asyncio.to_thread(owners.sweep)
        await churning
        assert not await owners.is_gone(record_of("other"))


# the store


async def test_opening_a_store_removes_the_files_of_dead_owners_only(path: Path, owners: LockedOwners) -> None:
    dead = [leave_dead_owner(owners, f"dead {number}") for number in range(3)]
    foreign = owners.folder / "notes"
    foreign.touch()
    await owners.register("alive")
    async with aw.SQLiteStore(path):
        pass
    assert not any(file.exists() for file in dead)
    assert list_files(owners.folder) == sorted([foreign, owners._path("alive")])


async def test_one_opening_looks_at_a_limited_number_of_files(
    path: Path, owners: LockedOwners, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners_module, "_SWEEP_LIMIT", 3)
    for number in range(5):
        leave_dead_owner(owners, f"dead {number}")
    for left in (2, 0):
        async with aw.SQLiteStore(path):
            pass
        assert len(list_files(owners.folder)) == left


async def test_stores_that_know_the_file_by_different_paths_see_the_same_owners(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    async with aw.SQLiteStore(path) as store:
        link.symlink_to(path)
        async with aw.SQLiteStore(link) as other:
            await store.owners.register("mine")
            assert not await other.owners.is_gone(record_of("mine"))
            await store.owners.unregister("mine")
            assert await other.owners.is_gone(record_of("mine"))
    assert not (tmp_path / "link.db-owners").exists()


async def test_a_closed_store_has_no_owners(path: Path) -> None:
    with pytest.raises(aw.StoreError, match="is closed"):
        _ = aw.SQLiteStore(path).owners


# systems without flock


async def test_without_locks_only_owners_that_this_process_closed_are_gone(
    folder: Path, owners: LockedOwners, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners_module, "fcntl", None)
    monkeypatch.setattr(owners_module, "_closed", set())
    await owners.register("one")
    await owners.register("two")
    await owners.unregister("one")
    gone = [await LockedOwners(folder).is_gone(record_of(owner)) for owner in ("one", "two", "other", OLD_OWNER, "")]
    assert gone == [True, False, False, False, True]
    owners.sweep()
    assert not folder.exists()
