"""What can be asked of the writer, one class for each method of the ports that writes.

A job goes from the trio thread to the one that writes and back; `transaction` fills in how it ended.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from protocol.errand import Later
from protocol.types import BlobType
from stepflow_runtime.model.events import encode_events
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.ports import CommitResult, JournalRow, Message, RunProgress, RunWrite


class Job:
    """Something to be written. After its transaction either `error` is set or it is done; `written` comes then."""

    __slots__ = ("error", "written")

    weight: int = 1
    """How much there is to write, in events."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.written = Later[None]()


class Part:
    """One run's part of a commit, on its way.

    Attributes:
        write: What its owner wants.
        progress: How the run stands after it, out of its owner's hands.
        row: Its events, once they are encoded; `None` if there are none.
        result: What became of it.
    """

    __slots__ = ("progress", "result", "row", "write")

    def __init__(self, write: RunWrite) -> None:
        self.write = write
        self.progress: RunProgress = copy.copy(write.progress)
        self.progress.seq = write.expected_seq + len(write.events)
        self.row: JournalRow | None = None
        self.result: CommitResult | None = None

    def encode(self) -> None:
        """Encodes the events, where the transaction runs."""
        write = self.write
        if write.events and self.row is None:
            events = encode_events(write.events)
            first = write.expected_seq + 1
            self.row = JournalRow(first, self.progress.seq, write.at_ms, write.completions_before, events)


class CommitJob(Job):
    """`Store.commit`."""

    __slots__ = ("parts", "weight")

    def __init__(self, writes: Sequence[RunWrite]) -> None:
        super().__init__()
        self.parts = [Part(write) for write in writes]
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


class NoteNamesJob(Job):
    """From its transaction on, all names of blobs in what is written are added to a set; with `None`, no longer."""

    __slots__ = ("names",)

    def __init__(self, names: set[str] | None) -> None:
        super().__init__()
        self.names = names


class RemoveBlobsJob(Job):
    """Removes blobs that were not used since they were found to be unreachable. `removed` says how many."""

    __slots__ = ("blob_ids", "keep_s", "removed", "used", "weight")

    def __init__(self, blob_ids: Sequence[BlobId], used: set[str], keep_s: int) -> None:
        super().__init__()
        self.blob_ids = blob_ids
        self.used = used
        self.keep_s = keep_s
        self.removed = 0
        self.weight = len(blob_ids)


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
