"""Clock and ids of the real world."""

from __future__ import annotations

import os
import time
from typing import Final

import uuid_utils

from stepflow_runtime.model.ids import ExecutionId, RunId

_ID_BYTES: Final = 16
_POOL_BYTES: Final = 256 * _ID_BYTES


class SystemClock:
    """Implements `ports.Clock`."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class SystemIds:
    """Implements `ports.Ids`. Randomness is drawn from the system in pools: a call for each id would cost more."""

    def __init__(self) -> None:
        self._pool = ""
        self._used = 0

    def run_id(self) -> RunId:
        return RunId(str(uuid_utils.uuid7()))

    def execution_id(self) -> ExecutionId:
        start = self._used
        if start == len(self._pool):
            self._pool, start = os.urandom(_POOL_BYTES).hex(), 0
        self._used = start + 2 * _ID_BYTES
        return ExecutionId(self._pool[start : self._used])
