"""The store in one SQLite file: durable when a method that writes returns, and after kill -9 as it was then.

Composes `writer` and `transaction` (what is written), `view` and `recent` (what is read) and `watch` (who is woken).
One runtime uses a database at a time; the lock beside the file and the epoch in every transaction see to that.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from protocol.errand import arrived
from protocol.types import BlobType
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.ports import (
    CommitResult,
    Committed,
    JournalRow,
    Lease,
    Message,
    ResultChunk,
    RunProgress,
    RunRecord,
    RunWrite,
    WatchFor,
)
from stepflow_runtime.store import database
from stepflow_runtime.store.byproducts import SqliteByproducts
from stepflow_runtime.store.checkpoint import Checkpointer
from stepflow_runtime.store.collecting import Collector
from stepflow_runtime.store.content import check_blob_id
from stepflow_runtime.store.database import Synchronous
from stepflow_runtime.store.jobs import CommitJob, DeleteJob, Job, PutJob, SettleJob
from stepflow_runtime.store.leases import find_shard, grant_all
from stepflow_runtime.store.reader import Reader
from stepflow_runtime.store.recent import MAX_BYTES, RecentRuns
from stepflow_runtime.store.registry import SqliteDeliveries, SqliteRegistry
from stepflow_runtime.store.transaction import Transactor
from stepflow_runtime.store.view import SqliteView
from stepflow_runtime.store.watch import WatchHub, is_due
from stepflow_runtime.store.writer import Writer


class SqliteStore(SqliteView):
    """`Store` and `BlobStore` over one database. Made by `open_sqlite`; used on one trio thread.

    Attributes:
        after_clean_stop: Whether the runtime that had the database before ended in order, or there was none.
        stops_cleanly: To be set before the end if that is in order.
        registry: Jobs, schedules and webhooks.
        byproducts: Streams, checkpoints and artifacts.
        deliveries: Of webhooks.
        collector: Removes blobs that nothing can reach.
    """

    def __init__(
        self,
        leases: Sequence[Lease],
        reader: Reader,
        writer: Writer,
        recent: RecentRuns,
        hub: WatchHub,
        collector: Collector,
        *,
        after_clean_stop: bool,
    ) -> None:
        self.after_clean_stop = after_clean_stop
        self.stops_cleanly = False
        super().__init__(reader)
        self._leases = leases
        self._writer = writer
        self._recent = recent
        self.hub = hub
        self.registry = SqliteRegistry(reader, writer)
        self.byproducts = SqliteByproducts(reader, hub)
        self.deliveries = SqliteDeliveries(reader, writer)
        self.collector = collector

    @property
    def transactions(self) -> int:
        """How many transactions were written since it was opened."""
        return self._writer.transactions

    # --- writing ---

    def lease(self, root_run_id: RunId) -> Lease:
        return self._leases[find_shard(root_run_id)]

    async def commit(self, writes: Sequence[RunWrite]) -> list[CommitResult]:
        if not writes:
            return []
        job = CommitJob(writes)
        await self._writer.write(job)
        return [part.result for part in job.parts if part.result is not None]

    async def settle(self, messages: Iterable[Message]) -> None:
        await self._writer.write(SettleJob(messages))

    async def delete(self, run_ids: Sequence[RunId]) -> None:
        await self._writer.write(DeleteJob(run_ids))

    async def put(self, blob_id: BlobId, data: bytes, blob_type: BlobType) -> None:
        check_blob_id(blob_id)
        await self._writer.write(PutJob(blob_id, data, blob_type))

    def watch(self, run_id: RunId, after_seq: int, until: WatchFor = WatchFor.CHANGE) -> Awaitable[RunProgress | None]:
        recent = self._recent.find(run_id)
        progress = self._reader.progress(run_id) if recent is None else recent.progress
        if progress is None or is_due(progress, after_seq, until):
            return arrived(progress)
        return self.hub.wait(run_id, after_seq, until)

    # --- reading ---

    async def watch_tree(self, root_run_id: RunId, after: int) -> None:
        if self._reader.tree_end(root_run_id) <= after:
            await self.hub.wait_shard(find_shard(root_run_id))

    async def get(self, blob_id: BlobId) -> tuple[bytes, BlobType] | None:
        blob = await super().get(blob_id)
        await self.collector.note_read(blob_id, blob)
        return blob

    async def run(self, run_id: RunId) -> RunRecord | None:
        recent = self._recent.find(run_id)
        return await super().run(run_id) if recent is None else recent.record

    async def journal(self, run_id: RunId, from_seq: int, max_rows: int) -> list[JournalRow]:
        recent = self._recent.find(run_id)
        return (
            await super().journal(run_id, from_seq, max_rows) if recent is None else recent.journal(from_seq, max_rows)
        )

    async def journal_at_completion(self, run_id: RunId, ordinal: int, max_rows: int) -> list[JournalRow]:
        recent = self._recent.find(run_id)
        if recent is None:
            return await super().journal_at_completion(run_id, ordinal, max_rows)
        return recent.journal_at_completion(ordinal, max_rows)

    async def chunks(self, run_id: RunId, first: int, last: int) -> list[ResultChunk]:
        recent = self._recent.find(run_id)
        return await super().chunks(run_id, first, last) if recent is None else recent.chunks(first, last)


def _tell(recent: RecentRuns, hub: WatchHub, job: Job) -> None:
    if job.error is not None:
        return
    match job:
        case CommitJob():
            for part in job.parts:
                if isinstance(part.result, Committed):
                    recent.note(part)
                    hub.notify(part.write.run_id, part.progress)
                    hub.notify_shard(part.write.lease.shard)
                    byproducts = part.write.byproducts
                    for stream in () if byproducts is None else byproducts.streams:
                        hub.notify(part.write.run_id, stream)
        case DeleteJob():
            recent.forget(job.run_ids)
            for run_id in job.run_ids:
                hub.forget(run_id)
        case _:
            pass


@asynccontextmanager
async def open_sqlite(
    path: str | os.PathLike[str],
    *,
    synchronous: Synchronous = "FULL",
    inline_only: bool = False,
    recent_bytes: int = MAX_BYTES,
) -> AsyncGenerator[SqliteStore, None]:
    """Opens a database, and makes it if it is not there.

    Args:
        path: The file. Beside it lie `-wal`, `-shm` and `.lock`.
        synchronous: `FULL` survives a loss of power.
        inline_only: Write on the trio thread only, without threads, for simulations under a clock that jumps.
        recent_bytes: How much of the latest runs is kept in memory to be read; 0 for nothing.

    Raises:
        StoreUnavailable: Another runtime has the database, or the medium refused.
        StoreCorrupt: The file is damaged, of another program or of a newer release. It is left as it was.

    Cancellation: at the end, what is under way is written first.
    """
    path = Path(path)
    recent, hub = RecentRuns(recent_bytes), WatchHub()
    with ExitStack() as stack:
        stack.enter_context(database.hold_lock(path))
        boot = database.prepare(path)
        leases = grant_all(f"boot-{boot.epoch}", boot.epoch)
        connection = database.connect_writer(path, synchronous)
        stack.callback(connection.close)
        side = database.connect_writer(path, synchronous)
        stack.callback(side.close)
        reader = database.connect_reader(path)
        stack.callback(reader.close)
        checkpointer = Checkpointer(connection, side, inline_only=inline_only)
        stack.callback(checkpointer.close)
        writer = Writer(
            Transactor(connection, str(path), leases),
            checkpointer,
            lambda job: _tell(recent, hub, job),
            inline_only=inline_only,
        )
        store = SqliteStore(
            leases,
            Reader(reader, str(path)),
            writer,
            recent,
            hub,
            Collector(path, writer),
            after_clean_stop=boot.after_clean_stop,
        )
        try:
            yield store
        finally:
            await writer.close()
            if store.stops_cleanly:
                database.note_stop(connection, boot)
