"""The machine that is measured on, in a few words: figures without it say nothing."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

import apsw
from msgspec import Struct

SYNCS: Final = 200


class Machine(Struct, frozen=True):
    """What figures depend on.

    Args:
        cores: That this process may use.
        memory_gb: GiB.
        processor: Its name.
        python: Its version.
        sqlite: Its version.
        fsync_us: Microseconds to write 4 KiB and have it on the disk, the median.
        load: Of the last minute: how many processes wanted to run.
    """

    cores: int
    memory_gb: float
    processor: str
    python: str
    sqlite: str
    fsync_us: float
    load: float


def describe_machine(folder: Path | None) -> Machine:
    """Looks at the machine.

    Args:
        folder: Where the databases lie.
    """
    names = (line.partition(":")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line)
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        memory_gb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        processor=next(names, platform.machine()).strip(),
        python=platform.python_version(),
        sqlite=apsw.sqlite_lib_version(),
        fsync_us=measure_fsync(folder),
        load=os.getloadavg()[0],
    )


def measure_fsync(folder: Path | None) -> float:
    """The median of what it takes to append 4 KiB to a file and wait until the disk has it."""
    times_us: list[float] = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(SYNCS):
            started_at = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            times_us.append((time.perf_counter() - started_at) * 1e6)
    return statistics.median(times_us)
