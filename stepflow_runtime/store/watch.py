"""Who waits for which run, or one of its streams, and what ends the wait. Both stores wake through this.

A waiter is one small object, no timer and no trio event; a commit looks only at those who wait for its run, and wakes
only those whose wait it ended. Used on the trio thread alone; knows nothing of how runs are stored.
"""

from __future__ import annotations

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
    """Who waits for something under a key: for anything, if it is no run's."""

    __slots__ = ("_hub", "key")

    def __init__(self, hub: WatchHub, key: RunId | int) -> None:
        super().__init__()
        self._hub = hub
        self.key = key

    def is_ended_by(self, news: News) -> bool:
        """Whether this ends the wait."""
        return True

    def forgotten(self) -> None:
        self._hub.remove(self)


class _RunWaiter(_Waiter):
    __slots__ = ("_after_seq", "_until")

    def __init__(self, hub: WatchHub, run_id: RunId, after_seq: int, until: WatchFor) -> None:
        super().__init__(hub, run_id)
        self._after_seq = after_seq
        self._until = until

    def is_ended_by(self, news: News) -> bool:
        return isinstance(news, RunProgress) and is_due(news, self._after_seq, self._until)


class _StreamWaiter(_Waiter):
    __slots__ = ("_namespace", "_tail")

    def __init__(self, hub: WatchHub, run_id: RunId, namespace: str, tail: int) -> None:
        super().__init__(hub, run_id)
        self._namespace = namespace
        self._tail = tail

    def is_ended_by(self, news: News) -> bool:
        if isinstance(news, StreamState):
            return news.namespace == self._namespace and is_further(news, self._tail)
        return news.status in TERMINAL_RUN_STATES


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
        return self._add(_RunWaiter(self, run_id, after_seq, until))

    def wait_stream(self, run_id: RunId, namespace: str, tail: int) -> Later[Any]:
        """Comes when `notify` tells of more than `tail` chunks, of the stream's end or of its run's, or `forget` was
        called. The rest is as for `wait`."""
        return self._add(_StreamWaiter(self, run_id, namespace, tail))

    def wait_shard(self, shard: int) -> Later[Any]:
        """Comes when `notify_shard` is called; the rest is as for `wait`."""
        return self._add(_Waiter(self, shard))

    def notify_shard(self, shard: int) -> None:
        """A run of some tree of this shard has new events."""
        self.forget(shard)

    def _add(self, waiter: _Waiter) -> _Waiter:
        self._waiters.setdefault(waiter.key, {})[waiter] = None
        return waiter

    def notify(self, run_id: RunId, news: News) -> None:
        """A commit brought the run, or a stream of it, here."""
        waiters = self._waiters.get(run_id)
        if waiters:
            for waiter in [waiter for waiter in waiters if waiter.is_ended_by(news)]:
                self.remove(waiter)
                waiter.complete(news)

    def forget(self, run_id: RunId | int) -> None:
        """The run is gone."""
        for waiter in self._waiters.pop(run_id, ()):
            waiter.complete(None)

    def remove(self, waiter: _Waiter) -> None:
        """It waits no more."""
        waiters = self._waiters.get(waiter.key, {})
        waiters.pop(waiter, None)
        if not waiters:
            self._waiters.pop(waiter.key, None)
