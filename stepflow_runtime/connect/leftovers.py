"""Processes that a runtime left behind when it was killed: they are found by their environment, and killed.

Component servers, and whatever they start, carry the name of the database of their runtime in their environment. Who
holds the lock on that database may kill whoever carries its name: no other runtime has it. A process that cleared its
environment is not found. Linux only; elsewhere nothing is done.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from protocol.log import Logger

MARK: Final = "STEPFLOW_SERVER_OF"
"""The variable that names the database."""

GONE_S: Final = 2.0
"""How long is waited for killed processes to be gone."""

PROCESSES: Final = Path("/proc")

log = Logger(__name__)


def mark(database: Path) -> dict[str, str]:
    """What a component server gets added to its environment."""
    return {MARK: str(database.resolve())}


async def sweep(database: Path) -> int:
    """Kills what a runtime before left behind, and waits until it is gone; returns how many processes that were.

    Call it while holding the lock on the database, and before a server is started.
    """
    if not hasattr(os, "pidfd_open"):
        return 0
    entry = "=".join(*mark(database).items()).encode()
    killed = list(_kill_marked(entry))
    try:
        with trio.move_on_after(GONE_S):
            for descriptor in killed:
                await trio.lowlevel.wait_readable(descriptor)
    finally:
        for descriptor in killed:
            os.close(descriptor)
    if killed:
        log.warning("processes that the runtime before left behind were killed", processes=len(killed))
    return len(killed)


def _kill_marked(entry: bytes) -> Iterator[int]:
    """Kills all processes with this in their environment; gives a descriptor of each."""
    for folder in PROCESSES.iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid() or not _is_marked(folder, entry):
            continue
        with suppress(ProcessLookupError, PermissionError):
            descriptor = os.pidfd_open(int(folder.name))
            try:
                if _is_marked(folder, entry):  # the number may have passed to another process meanwhile
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            except BaseException:
                os.close(descriptor)
                raise
            yield descriptor


def _is_marked(folder: Path, entry: bytes) -> bool:
    try:
        return entry in (folder / "environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is another user's
        return False
