"""Who waits for which run, or one of its streams, and what ends the wait. Both stores wake through this.

A waiter is one small object and a parked task, no timer and no trio event; a commit looks only at those who wait for
its run, and wakes only those whose wait it ended. Used on the trio thread alone; knows nothing of how runs are stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from protocol.runs import RunState
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import RunProgress, StreamState, WatchFor

News = RunProgress | StreamState


def is_due(progress: RunProgress, after_seq: int, until: WatchFor) -> bool:
    """Whether a run that stands like this ends such a wait."""
    if progress.seq <= after_seq:
        return False
    match until:
        case WatchFor.CHANGE:
            return True
        case WatchFor.SETTLED:
            return progress.status is RunState.SUSPENDED or progress.status in TERMINAL_RUN_STATES
        case WatchFor.TERMINAL:
            return progress.status in TERMINAL_RUN_STATES


def is_further(stream: StreamState, tail: int) -> bool:
    """Whether a stream that stands like this ends a wait for more than `tail` chunks."""
    return stream.closed or stream.tail > tail


class _Waiter:
    __slots__ = ("ends", "news", "task")

    def __init__(self, task: trio.lowlevel.Task, ends: Callable[[News], bool]) -> None:
        self.task = task
        self.ends = ends
        self.news: News | None = None


class WatchHub:
    """The waiters of one store."""

    def __init__(self) -> None:
        self._waiters: dict[RunId | int, dict[_Waiter, None]] = {}

    def __len__(self) -> int:
        """How many tasks wait."""
        return sum(map(len, self._waiters.values()))

    async def wait(self, run_id: RunId, after_seq: int, until: WatchFor) -> RunProgress | None:
        """Waits until `notify` brings what ends the wait, or `forget` was called (`None`).

        The caller has looked at the run since its last checkpoint, and found the wait not ended.

        Cancellation: safe at any time.
        """
        news = await self._park(run_id, lambda news: isinstance(news, RunProgress) and is_due(news, after_seq, until))
        assert not isinstance(news, StreamState)
        return news

    async def wait_stream(self, run_id: RunId, namespace: str, tail: int) -> None:
        """Waits until `notify` tells of more than `tail` chunks, of the stream's end or of its run's, or `forget` was
        called. The rest is as for `wait`."""

        def ends(news: News) -> bool:
            if isinstance(news, StreamState):
                return news.namespace == namespace and is_further(news, tail)
            return news.status in TERMINAL_RUN_STATES

        await self._park(run_id, ends)

    async def wait_shard(self, shard: int) -> None:
        """Waits until `notify_shard` is called; the rest is as for `wait`."""
        await self._park(shard, lambda _: True)

    def notify_shard(self, shard: int) -> None:
        """A run of some tree of this shard has new events."""
        self.forget(shard)

    async def _park(self, run_id: RunId | int, ends: Callable[[News], bool]) -> News | None:
        waiter = _Waiter(trio.lowlevel.current_task(), ends)
        self._waiters.setdefault(run_id, {})[waiter] = None

        def abort(_: Any) -> trio.lowlevel.Abort:
            self._remove(run_id, waiter)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        return waiter.news

    def notify(self, run_id: RunId, news: News) -> None:
        """A commit brought the run, or a stream of it, here."""
        waiters = self._waiters.get(run_id)
        if waiters:
            for waiter in [waiter for waiter in waiters if waiter.ends(news)]:
                self._remove(run_id, waiter)
                waiter.news = news
                trio.lowlevel.reschedule(waiter.task)

    def forget(self, run_id: RunId | int) -> None:
        """The run is gone."""
        for waiter in self._waiters.pop(run_id, ()):
            trio.lowlevel.reschedule(waiter.task)

    def _remove(self, run_id: RunId | int, waiter: _Waiter) -> None:
        waiters = self._waiters[run_id]
        del waiters[waiter]
        if not waiters:
            del self._waiters[run_id]
