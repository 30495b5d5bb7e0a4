"""Where runs and blobs are stored. Reads may wait; what was written is durable when the method returns."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import Protocol

from protocol.types import BlobType
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.ports.records import (
    CommitResult,
    InputSegment,
    JournalRow,
    Lease,
    Message,
    ResultChunk,
    RunFilter,
    RunProgress,
    RunRecord,
    RunWrite,
    TreeRow,
    WatchFor,
)


class Store(Protocol):
    """Runs and their journals. Errors of the medium are raised as `StoreUnavailable`: what was to be written is not."""

    def lease(self, root_run_id: RunId) -> Lease:
        """The lease under which the tree of this root may be written."""
        ...

    async def commit(self, writes: Sequence[RunWrite]) -> list[CommitResult]:
        """Writes all of them in one transaction, each alone in its success or failure, and wakes who watches.

        A write that was made before, by a call whose answer was lost, is found and not made again: it is `Committed`.

        Raises:
            StoreUnavailable: Nothing was written; or it was, and the medium did not say so.

        Cancellation: the transaction happens or does not; the caller must not assume either.
        """
        ...

    def watch(self, run_id: RunId, after_seq: int, until: WatchFor = WatchFor.CHANGE) -> Awaitable[RunProgress | None]:
        """Comes once the run has an event beyond `after_seq` (and, for TERMINAL, has ended); `None` if it is gone.

        It is there already when that is true already. Brought by the commit, never by a timer.
        """
        ...

    async def run(self, run_id: RunId) -> RunRecord | None: ...

    async def runs(self, where: RunFilter, before: RunId | None, limit: int) -> list[RunRecord]:
        """Newest first (descending run id), those older than `before`."""
        ...

    async def unfinished(self) -> list[RunId]:
        """Runs that have not ended, oldest first: what recovery takes up."""
        ...

    async def children(self, run_id: RunId) -> list[RunRecord]:
        """Direct sub-runs, oldest first."""
        ...

    async def child(self, parent: RunId, item_index: int, step_id: str, key: str) -> RunRecord | None:
        """The sub-run that an execution of this step submitted under this key, the newest if there are several."""
        ...

    async def children_of_step(self, parent: RunId, item_index: int, step_id: str) -> list[RunRecord]:
        """All sub-runs of one step of one item, oldest first."""
        ...

    async def run_by_idempotency_key(self, principal: str, key: str) -> RunRecord | None: ...

    async def journal(self, run_id: RunId, from_seq: int, max_rows: int) -> list[JournalRow]:
        """Rows in order, beginning with the one that holds `from_seq` (or the first after it)."""
        ...

    async def journal_at_completion(self, run_id: RunId, ordinal: int, max_rows: int) -> list[JournalRow]:
        """Rows in order, beginning with the one in which the item with this completion ordinal (from 0) ended."""
        ...

    async def tree_journal(self, root_run_id: RunId, after: int, max_rows: int) -> list[TreeRow]:
        """Rows of all runs of a tree after a position (0 is before all), in the order in which they were committed."""
        ...

    async def watch_tree(self, root_run_id: RunId, after: int) -> None:
        """Returns once a run of the tree may have a row after this position; sometimes before. See `watch`."""
        ...

    async def chunks(self, run_id: RunId, first: int, last: int) -> list[ResultChunk]:
        """The result chunks `first` to `last` inclusive that exist."""
        ...

    async def inputs(self, run_id: RunId, index: int) -> InputSegment | None:
        """The segment that holds this item's input."""
        ...

    async def snapshot(self, run_id: RunId) -> tuple[int, bytes] | None:
        """The last snapshot, and the sequence number as of which it was taken."""
        ...

    async def outbox(self) -> list[Message]:
        """Messages not yet settled, oldest first: what recovery delivers again."""
        ...

    async def settle(self, messages: Iterable[Message]) -> None:
        """Forgets messages that were delivered."""
        ...

    async def delete(self, run_ids: Sequence[RunId]) -> None:
        """Deletes ended runs and all that is theirs, in one transaction.

        Raises:
            ValueError: One has not ended, or is needed by a fork that is to stay. Nothing was deleted.
        """
        ...


class BlobStore(Protocol):
    """Content by the hash of its canonical bytes. Reads are verified; a mismatch is an error, never data."""

    async def put(self, blob_id: BlobId, data: bytes, blob_type: BlobType) -> None:
        """Durable when it returns. Storing the same content again changes nothing (and heals a corrupt blob)."""
        ...

    async def get(self, blob_id: BlobId) -> tuple[bytes, BlobType] | None: ...


class StoreUnavailable(Exception):
    """The medium refused (disk full, I/O error, lock): nothing was written; it may go again later."""


class StoreCorrupt(Exception):
    """What was read is not what was written."""
