"""Calls that are made in the next pass of trio's loop: one task makes them all.

It is what `run_sync_soon` is between threads, without its system calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn

import trio


class _Caller:
    """The calls of one `trio.run`."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], None]] = []
        self._resting: trio.lowlevel.Task | None = None
        trio.lowlevel.spawn_system_task(self._run, name="calls soon")

    def add(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        if self._resting is not None:
            trio.lowlevel.reschedule(self._resting)
            self._resting = None

    async def _run(self) -> NoReturn:
        while True:
            calls, self._calls = self._calls, []
            for call in calls:
                call()
            if not self._calls:
                self._resting = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._leave)

    def _leave(self, _: object) -> trio.lowlevel.Abort:
        self._resting = None
        return trio.lowlevel.Abort.SUCCEEDED


_caller: Final = trio.lowlevel.RunVar[_Caller]("protocol.soon")


def call_soon(call: Callable[[], None]) -> None:
    """Has something called in the next pass of the loop; it must not raise. On the trio thread only."""
    try:
        caller = _caller.get()
    except LookupError:
        caller = _Caller()
        _caller.set(caller)
    caller.add(call)
