"""Timers of the engine: one heap, one task, one wake-up. Nothing per timer touches trio."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

import trio

from stepflow_runtime.ports import Clock

COMPACT_ABOVE: Final = 1024
"""Cancelled timers are swept out when there are more of them than this, and than live ones."""


class Timer:
    """A call that is due at a time, unless it is cancelled before."""

    __slots__ = ("_timers", "action")

    def __init__(self, timers: Timers, action: Callable[[], None]) -> None:
        self._timers = timers
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Forgets the call. Harmless when it has been made."""
        if self.action is not None:
            self.action = None
            self._timers.note_cancelled()


class Timers:
    """Calls functions at their times, in `run`'s task. Times are monotonic seconds; wall times are converted once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._cancelled = 0
        self._sleeping: trio.CancelScope | None = None

    def after(self, delay_s: float, action: Callable[[], None]) -> Timer:
        """Calls `action` once, `delay_s` seconds from now."""
        timer = Timer(self, action)
        due = self._clock.monotonic() + max(delay_s, 0.0)
        heappush(self._heap, (due, next(self._order), timer))
        if self._heap[0][2] is timer and self._sleeping is not None:
            self._sleeping.cancel()
        return timer

    def at_ms(self, wall_ms: int, action: Callable[[], None]) -> Timer:
        """Calls `action` once, at a wall time as the clock has it now; a clock that jumps later moves nothing."""
        return self.after((wall_ms - self._clock.wall_ms()) / 1000, action)

    async def run(self) -> None:
        """Makes the calls, until cancelled."""
        while True:
            with trio.CancelScope() as self._sleeping:
                due = self._heap[0][0] if self._heap else math.inf
                await trio.sleep(max(due - self._clock.monotonic(), 0.0))
            self._sleeping = None
            now = self._clock.monotonic()
            while self._heap and self._heap[0][0] <= now:
                timer = heappop(self._heap)[2]
                action, timer.action = timer.action, None
                if action is None:
                    self._cancelled -= 1
                else:
                    action()

    def note_cancelled(self) -> None:
        """A timer was cancelled: when too many are, they are swept out."""
        self._cancelled += 1
        if self._cancelled > max(COMPACT_ABOVE, len(self._heap) // 2):
            self._heap = [entry for entry in self._heap if entry[2].action is not None]
            heapify(self._heap)
            self._cancelled = 0
