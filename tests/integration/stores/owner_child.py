"""Another process with an owner of a SQLite store: `owner_child.py FOLDER OWNER`.

It registers the owner, prints `registered`, and carries out the commands on its stdin; a word on stdout follows each.
Its own children live until the end of its stdin, so they may outlive it.
"""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
import threading
import warnings
from pathlib import Path

from aiowatermark.jobs import Record
from aiowatermark.stores.sqlite import owners as owners_module
from aiowatermark.stores.sqlite.owners import LockedOwners


def print_word(word: str) -> None:
    os.write(1, f"{word}\n".encode())


def unregister(owners: LockedOwners, owner: str) -> None:
    asyncio.run(owners.unregister(owner))
    print_word("unregister")


def wait_for_end_of_stdin() -> None:
    while os.read(0, 100):
        pass
    os._exit(0)


def fork(owners: LockedOwners, owner: str) -> None:
    """Fork a child that does nothing."""
    if os.fork() == 0:
        print_word("fork")
        wait_for_end_of_stdin()


def fork_and_end(owners: LockedOwners, owner: str) -> None:
    """Fork a child that closes the client which it inherited, and ends."""
    if (pid := os.fork()) == 0:
        asyncio.run(owners.unregister(owner))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    print_word("fork-and-end")


def fork_client(owners: LockedOwners, owner: str) -> None:
    """Fork a child that registers an owner of its own."""
    if os.fork() == 0:
        asyncio.run(owners.register(f"child of {owner}"))
        print_word("fork-client")
        wait_for_end_of_stdin()


def fork_while_registering(owners: LockedOwners, owner: str) -> None:
    """Fork a child at the worst moment: a thread has opened a second owner's file and not noted the descriptor yet."""
    opened, forked = threading.Event(), threading.Event()
    open_locked = owners_module._open_locked

    def open_and_wait(path: Path) -> int | None:
        descriptor = open_locked(path)
        opened.set()
        # a correct fork waits for the registration, and this wait ends by its timeout
        forked.wait(0.2)
        return descriptor

    owners_module._open_locked = open_and_wait
    thread = threading.Thread(target=owners._register, args=("second",))
    thread.start()
    opened.wait()
    warnings.simplefilter("ignore", DeprecationWarning)  # of forks in processes with threads
    if os.fork() == 0:
        wait_for_end_of_stdin()
    forked.set()
    thread.join()
    print_word("fork-while-registering")


def fork_observer(owners: LockedOwners, owner: str) -> None:
    """Fork a child that says `gone` when the owner of its parent is gone."""
    if os.fork() == 0:
        print_word("fork-observer")
        while not (gone := asyncio.run(owners.is_gone(Record("job-1", "kaze", owner=owner)))):
            if select.select([0], [], [], 0.01)[0]:
                break
        print_word("gone" if gone else "alive")
        os._exit(0)


def start_program(owners: LockedOwners, owner: str) -> None:
    """Start another program, which inherits every descriptor that can be inherited."""
    with subprocess.Popen(["cat"], close_fds=False):
        print_word("start-program")


def churn(owners: LockedOwners, owner: str) -> None:
    """Register and unregister a second owner again and again; it must have its file each time."""
    for _ in range(300):
        asyncio.run(owners.register("second"))
        file = owners._path("second")
        assert file.exists(), "the file of a living owner was removed"
        asyncio.run(owners.unregister("second"))
    print_word("churn")


COMMANDS = {
    "unregister": unregister,
    "fork": fork,
    "fork-and-end": fork_and_end,
    "fork-client": fork_client,
    "fork-while-registering": fork_while_registering,
    "fork-observer": fork_observer,
    "start-program": start_program,
    "churn": churn,
}


def main(folder: str, owner: str) -> None:
    owners = LockedOwners(Path(folder))
    asyncio.run(owners.register(owner))
    print_word("registered")
    for line in sys.stdin:
        COMMANDS[line.strip()](owners, owner)


if __name__ == "__main__":
    main(*sys.argv[1:3])
