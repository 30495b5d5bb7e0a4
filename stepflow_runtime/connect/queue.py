"""What waits for a server: in turns between trees of runs, and within a tree items under way before those that begin.

It knows neither servers nor components; `pool` decides when the next one goes, and where to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain

from stepflow_runtime.connect.batch import Batch
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import Execution

Queued = tuple[Execution | Batch, str]
"""What takes one slot, and the component's path."""


class _RootQueue:
    """What waits of one tree of runs, in order."""

    __slots__ = ("_beginning", "_under_way")

    def __init__(self) -> None:
        self._under_way: deque[Queued] = deque()
        self._beginning: deque[Queued] = deque()

    def __len__(self) -> int:
        return len(self._under_way) + len(self._beginning)

    def __iter__(self) -> Iterator[Queued]:
        return chain(self._under_way, self._beginning)

    def select(self, begins_item: bool) -> deque[Queued]:
        return self._beginning if begins_item else self._under_way

    def popleft(self) -> Queued:
        return (self._under_way or self._beginning).popleft()


class FairQueue:
    """A queue for each root run; they take turns."""

    def __init__(self) -> None:
        self._queues: dict[RunId, _RootQueue] = {}
        self._turns: deque[_RootQueue] = deque()

    def __bool__(self) -> bool:
        return bool(self._turns)

    def __iter__(self) -> Iterator[Queued]:
        return chain(*self._turns)

    def append(self, what: Execution | Batch, path: str) -> None:
        self._queue_of(what).append((what, path))

    def appendleft(self, what: Execution | Batch, path: str) -> None:
        """Puts back what could not be sent; its tree keeps its turn as it is."""
        self._queue_of(what).appendleft((what, path))

    def popleft(self) -> Queued:
        """Takes the next one; then it is the next tree's turn."""
        turns = self._turns
        queue = turns[0]
        queued = queue.popleft()
        if queue:
            turns.rotate(-1)
        else:
            turns.popleft()
            del self._queues[queued[0].root_run_id]
        return queued

    def clear(self) -> None:
        self._queues.clear()
        self._turns.clear()

    def _queue_of(self, what: Execution | Batch) -> deque[Queued]:
        queue = self._queues.get(what.root_run_id)
        if queue is None:
            queue = self._queues[what.root_run_id] = _RootQueue()
            self._turns.append(queue)
        return queue.select(what.begins_item)
