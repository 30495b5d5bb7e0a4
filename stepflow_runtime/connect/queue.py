"""What waits for a server: in turns between trees of runs, and within a tree items under way before those that begin.

It knows neither servers nor components; `pool` decides when the next one goes, and where to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain

from protocol.turns import Turns
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
        self._trees = Turns[RunId, _RootQueue](_RootQueue)

    def __bool__(self) -> bool:
        return bool(self._trees)

    def __iter__(self) -> Iterator[Queued]:
        return chain(*self._trees)

    def append(self, what: Execution | Batch, path: str) -> None:
        self._queue_of(what).append((what, path))

    def appendleft(self, what: Execution | Batch, path: str) -> None:
        """Puts back what could not be sent; its tree keeps its turn as it is."""
        self._queue_of(what).appendleft((what, path))

    def popleft(self) -> Queued:
        """Takes the next one; then it is the next tree's turn."""
        return self._trees.take().popleft()

    def clear(self) -> None:
        self._trees.clear()

    def _queue_of(self, what: Execution | Batch) -> deque[Queued]:
        return self._trees.queue_of(what.root_run_id).select(what.begins_item)
