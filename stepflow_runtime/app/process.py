"""What this process uses of its machine, as the system tells; what a system does not tell is left out."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final

from msgspec import Struct

_PROC: Final = Path("/proc/self")


class ProcessUse(Struct, frozen=True):
    """As Prometheus clients name it; `None` is not known."""

    cpu_seconds: float
    max_fds: int
    start_time_seconds: float | None = None
    resident_memory_bytes: int | None = None
    virtual_memory_bytes: int | None = None
    open_fds: int | None = None


def read_process_use() -> ProcessUse:
    """As of now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_seconds, max_fds = used.ru_utime + used.ru_stime, resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if not (_PROC / "stat").exists():
        return ProcessUse(cpu_seconds, max_fds)
    # Fields of proc(5), counted from the end of the command's name, which may hold anything.
    fields = (_PROC / "stat").read_text().rpartition(")")[2].split()
    start_ticks, virtual_bytes, resident_pages = int(fields[19]), int(fields[20]), int(fields[21])
    return ProcessUse(
        cpu_seconds,
        max_fds,
        _read_boot_time() + start_ticks / os.sysconf("SC_CLK_TCK"),
        resident_pages * resource.getpagesize(),
        virtual_bytes,
        len(os.listdir(_PROC / "fd")),
    )


def _read_boot_time() -> int:
    lines = Path("/proc/stat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("btime "))
