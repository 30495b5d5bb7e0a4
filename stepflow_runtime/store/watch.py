"""Who waits for which run, and what ends the wait. Both stores wake through this.

A waiter is one small object and a parked task, no timer and no trio event; a commit looks only at those who wait for
its run, and wakes only those whose wait it ended. Used on the trio thread alone; knows nothing of how runs are stored.
"""

from __future__ import annotations

from typing import Any

import trio

from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import RunProgress, WatchFor


def is_due(progress: RunProgress, after_seq: int, until: WatchFor) -> bool:
    """Whether a run that stands like this ends such a wait."""
    return progress.seq > after_seq and (until is WatchFor.CHANGE or progress.status in TERMINAL_RUN_STATES)


class _Waiter:
    __slots__ = ("after_seq", "progress", "task", "until")

    def __init__(self, task: trio.lowlevel.Task, after_seq: int, until: WatchFor) -> None:
        self.task = task
        self.after_seq = after_seq
        self.until = until
        self.progress: RunProgress | None = None


class WatchHub:
    """The waiters of one store."""

    def __init__(self) -> None:
        self._waiters: dict[RunId, dict[_Waiter, None]] = {}

    def __len__(self) -> int:
        """How many tasks wait."""
        return sum(map(len, self._waiters.values()))

    async def wait(self, run_id: RunId, after_seq: int, until: WatchFor) -> RunProgress | None:
        """Waits until `notify` brings what ends the wait, or `forget` was called (`None`).

        The caller has looked at the run since its last checkpoint, and found the wait not ended.

        Cancellation: safe at any time.
        """
        waiter = _Waiter(trio.lowlevel.current_task(), after_seq, until)
        self._waiters.setdefault(run_id, {})[waiter] = None

        def abort(_: Any) -> trio.lowlevel.Abort:
            self._remove(run_id, waiter)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        return waiter.progress

    def notify(self, run_id: RunId, progress: RunProgress) -> None:
        """A commit brought the run here."""
        waiters = self._waiters.get(run_id)
        if waiters:
            for waiter in [w for w in waiters if is_due(progress, w.after_seq, w.until)]:
                self._remove(run_id, waiter)
                waiter.progress = progress
                trio.lowlevel.reschedule(waiter.task)

    def forget(self, run_id: RunId) -> None:
        """The run is gone."""
        for waiter in self._waiters.pop(run_id, ()):
            trio.lowlevel.reschedule(waiter.task)

    def _remove(self, run_id: RunId, waiter: _Waiter) -> None:
        waiters = self._waiters[run_id]
        del waiters[waiter]
        if not waiters:
            del self._waiters[run_id]
