"""Clock and ids of the real world, and what the interpreter is told about this process."""

from __future__ import annotations

import gc
import os
import sys
import time
from typing import Final

import uuid_utils

from stepflow_runtime.model.ids import ExecutionId, RunId

_ID_BYTES: Final = 16
_IDS_AT_ONCE: Final = 256


GC_THRESHOLD: Final = 100_000
"""Objects made between two collections of the youngest. A full window holds some ten thousand that live until they are
answered; the usual 700 would look at them again and again: a fifth of the time that an item takes."""

SWITCH_INTERVAL_S: Final = 0.0001
"""How long a thread keeps the interpreter to itself; by default the writer, beside a busy event loop, would wait
fifty times as long for each statement."""


def dedicate_process() -> None:
    """Tunes the interpreter for a process that is a runtime and nothing else. Call it once, when all is imported."""
    gc.freeze()  # without a collection before: imports leave little garbage, and to look for it would delay the start
    gc.set_threshold(GC_THRESHOLD, 50, 50)
    sys.setswitchinterval(SWITCH_INTERVAL_S)


class SystemClock:
    """Implements `ports.Clock`."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class SystemIds:
    """Implements `ports.Ids`. Randomness is drawn from the system for many ids at once; a call for each costs more."""

    def __init__(self) -> None:
        self._unused: list[ExecutionId] = []

    def run_id(self) -> RunId:
        return RunId(str(uuid_utils.uuid7()))

    def execution_id(self) -> ExecutionId:
        if not self._unused:
            drawn = os.urandom(_IDS_AT_ONCE * _ID_BYTES).hex(" ", _ID_BYTES)
            self._unused = [ExecutionId(id) for id in drawn.split()]
        return self._unused.pop()
