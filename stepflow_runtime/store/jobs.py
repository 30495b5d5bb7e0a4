"""What can be asked of the writer, one class for each method of the ports that writes.

A job goes from the trio thread to the one that writes and back; `transaction` fills in how it ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from protocol.types import BlobType
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.ports import CommitResult, Message, RunProgress, RunWrite


class Job:
    """Something to be written. After its transaction either `error` is set or it is done."""

    __slots__ = ("error", "task")

    weight: int = 1
    """How much there is to write, in events."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.task: Any = None


class CommitJob(Job):
    """`Store.commit`. `progress` holds what watchers are told, as of each write."""

    __slots__ = ("progress", "results", "weight", "writes")

    def __init__(self, writes: Sequence[RunWrite], progress: Sequence[RunProgress]) -> None:
        super().__init__()
        self.writes = writes
        self.progress = progress
        self.results: list[CommitResult] = []
        self.weight = sum(
            len(write.events) + (0 if write.byproducts is None else write.byproducts.weight) for write in writes
        )


class PutJob(Job):
    """`BlobStore.put`."""

    __slots__ = ("row", "weight")

    def __init__(self, blob_id: BlobId, data: bytes, blob_type: BlobType) -> None:
        super().__init__()
        self.row = (blob_id, blob_type, data)
        self.weight = 1 + len(data) // 100


class SettleJob(Job):
    """`Store.settle`."""

    __slots__ = ("messages",)

    def __init__(self, messages: Iterable[Message]) -> None:
        super().__init__()
        self.messages = [(message.run_id, message.seq) for message in messages]


class RowsJob(Job):
    """Rows for statements, by their names, in order: what `registry` writes."""

    __slots__ = ("rows", "weight")

    def __init__(self, rows: Sequence[tuple[str, Sequence[tuple[Any, ...]]]]) -> None:
        super().__init__()
        self.rows = rows
        self.weight = sum(len(some) for _, some in rows)


class DeleteJob(Job):
    """`Store.delete`."""

    __slots__ = ("run_ids",)

    def __init__(self, run_ids: Sequence[RunId]) -> None:
        super().__init__()
        self.run_ids = run_ids
