"""Executions that go to a server together: of one step of one run, in one slot (PROTOCOL §2 "Batches").

A batch is open, for others to join, until it is sent. It is held back until it is full, until its time is over, or
until the engine says that nobody else can join; then it waits for a slot like everything else. Knows no servers: `pool`
is above, and what is in flight is the business of `server`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from protocol.types import BatchInfo
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import Execution

_Key = tuple[RunId, str]


class Batch:
    """One batch, not sent yet.

    Args:
        first: The execution that opens it; the others are of the same step and run.
        path: The component, as its server knows it.
        due_at: When it goes, full or not.

    Attributes:
        calls: In the order in which they joined; also those that were cancelled since.
    """

    __slots__ = ("calls", "due_at", "path")

    def __init__(self, first: Execution, path: str, due_at: float) -> None:
        self.calls = [first]
        self.path = path
        self.due_at = due_at

    @property
    def key(self) -> _Key:
        return self.calls[0].run_id, self.calls[0].step_id

    @property
    def root_run_id(self) -> RunId:
        return self.calls[0].root_run_id

    @property
    def begins_item(self) -> bool:
        return self.calls[0].begins_item


class Batches:
    """The open batches of one plugin.

    Attributes:
        declared: What its servers said of their components, by path.
    """

    def __init__(self) -> None:
        self.declared: dict[str, BatchInfo] = {}
        self._open: dict[_Key, Batch] = {}
        self._held: dict[_Key, Batch] = {}

    def __bool__(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)

    def __iter__(self) -> Iterator[Batch]:
        """What is held back."""
        return iter(self._held.values())

    def declare(self, servers: Iterable[Mapping[str, BatchInfo]]) -> None:
        """Notes what all servers say. Where they differ, as much is gathered as the largest takes; others take less."""
        self.declared = {}
        for batches in servers:
            for path, info in batches.items():
                known = self.declared.get(path)
                if known is None or known.max_size < info.max_size:
                    self.declared[path] = info

    def join(self, execution: Execution, path: str, info: BatchInfo, now: Callable[[], float]) -> Batch | None:
        """Adds an execution to its batch.

        Returns:
            The batch, if it was held back and is full now.
        """
        key = execution.run_id, execution.step_id
        batch = self._open.get(key)
        if batch is None:
            batch = Batch(execution, path, now() + info.max_wait_ms / 1000)
            self._open[key] = self._held[key] = batch
        else:
            batch.calls.append(execution)
        if len(batch.calls) < info.max_size:
            return None
        del self._open[key]
        return self._held.pop(key, None)

    def take_due(self, now: float, has_others: Callable[[Execution, int], bool]) -> list[Batch]:
        """The batches that are held back no longer. They may be joined until they are closed.

        Args:
            now: The time.
            has_others: See `ExecutionSink`.
        """
        due = [
            batch
            for batch in self._held.values()
            if batch.due_at <= now or not has_others(batch.calls[0], len(batch.calls))
        ]
        for batch in due:
            del self._held[batch.key]
        return due

    def next_due_at(self) -> float:
        """When the first of those that are held back is due."""
        return min(batch.due_at for batch in self._held.values())

    def close(self, batch: Batch) -> None:
        """It is sent: who comes later opens another one."""
        key = batch.key
        if self._open.get(key) is batch:
            del self._open[key]

    def clear(self) -> None:
        self._open.clear()
        self._held.clear()
