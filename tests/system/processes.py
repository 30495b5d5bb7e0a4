"""What the system knows of processes, read from /proc: children, sessions, descriptors, and whose servers they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from stepflow_runtime.connect.leftovers import mark
from tests.conformance.wire import PATIENCE_S

PROCESSES: Final = Path("/proc")


class Process(Struct, frozen=True):
    """A process as it was a moment ago.

    Args:
        pid: Its number.
        state: One letter; `Z` is a zombie, `T` was stopped.
        parent: Its parent's number.
        session: The number of the process that began its session.
    """

    pid: int
    state: str
    parent: int
    session: int


def await_that(condition: Callable[[], Any]) -> Any:
    """Asks again and again, as nothing tells when something happens in another process; fails when it lasts too long.

    Returns:
        What was asked for.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return value


def find_children(pid: int) -> list[Process]:
    """The children of a process, zombies too."""
    return [process for process in _all() if process.parent == pid]


def find_marked(database: Path) -> list[Process]:
    """The component servers of a database's runtime and all that they started, zombies aside."""
    entry = "=".join(*mark(database).items()).encode()
    return [process for process in _all() if entry in _environment(process.pid)]


def count_descriptors(pid: int) -> int:
    """The open descriptors of a process."""
    return len(list((PROCESSES / str(pid) / "fd").iterdir()))


def _all() -> Iterator[Process]:
    for folder in PROCESSES.iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            yield Process(int(folder.name), fields[0], int(fields[1]), int(fields[3]))


def _environment(pid: int) -> list[bytes]:
    try:
        return (PROCESSES / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:  # it has ended meanwhile, or is another user's
        return []
