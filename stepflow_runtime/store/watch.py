"""Who waits for which run, or one of its streams, and what ends the wait. Both stores wake through this.

A waiter is one small object, no timer and no trio event; a commit looks only at those who wait for its run, and wakes
only those whose wait it ended. Used on the trio thread alone; knows nothing of how runs are stored.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from protocol.errand import Later
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


class _Waiter(Later[Any]):
    __slots__ = ("ends",)

    def __init__(self, ends: Callable[[News], bool], on_forgotten: Callable[[_Waiter], None]) -> None:
        super().__init__(lambda: on_forgotten(self))
        self.ends = ends


class WatchHub:
    """The waiters of one store."""

    def __init__(self) -> None:
        self._waiters: dict[RunId | int, dict[_Waiter, None]] = {}

    def __len__(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiters.values()))

    def wait(self, run_id: RunId, after_seq: int, until: WatchFor) -> Later[RunProgress | None]:
        """Comes when `notify` brings what ends the wait, or `forget` was called (`None`).

        The caller has looked at the run since its last checkpoint, found the wait not ended, and awaits it at once.

        Cancellation: safe at any time.
        """
        return self._add(run_id, lambda news: isinstance(news, RunProgress) and is_due(news, after_seq, until))

    def wait_stream(self, run_id: RunId, namespace: str, tail: int) -> Later[News | None]:
        """Comes when `notify` tells of more than `tail` chunks, of the stream's end or of its run's, or `forget` was
        called. The rest is as for `wait`."""

        def ends(news: News) -> bool:
            if isinstance(news, StreamState):
                return news.namespace == namespace and is_further(news, tail)
            return news.status in TERMINAL_RUN_STATES

        return self._add(run_id, ends)

    def wait_shard(self, shard: int) -> Later[None]:
        """Comes when `notify_shard` is called; the rest is as for `wait`."""
        return self._add(shard, lambda _: True)

    def notify_shard(self, shard: int) -> None:
        """A run of some tree of this shard has new events."""
        self.forget(shard)

    def _add(self, key: RunId | int, ends: Callable[[News], bool]) -> Later[Any]:
        waiter = _Waiter(ends, partial(self._remove, key))
        self._waiters.setdefault(key, {})[waiter] = None
        return waiter

    def notify(self, run_id: RunId, news: News) -> None:
        """A commit brought the run, or a stream of it, here."""
        waiters = self._waiters.get(run_id)
        if waiters:
            for waiter in [waiter for waiter in waiters if waiter.ends(news)]:
                self._remove(run_id, waiter)
                waiter.complete(news)

    def forget(self, run_id: RunId | int) -> None:
        """The run is gone."""
        for waiter in self._waiters.pop(run_id, ()):
            waiter.complete(None)

    def _remove(self, key: RunId | int, waiter: _Waiter) -> None:
        waiters = self._waiters.get(key, {})
        waiters.pop(waiter, None)
        if not waiters:
            self._waiters.pop(key, None)
