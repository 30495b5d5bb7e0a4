"""A store in dictionaries: for tests, trials and runs that need not outlive the process.

Every commit is immediate, and no method waits but `watch`. What it accepts and refuses is what `sqlite` does; one suite
of tests runs over both.
"""

from __future__ import annotations

import copy
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager

from protocol.errand import arrived
from protocol.runs import RunState
from protocol.types import BlobType
from stepflow_runtime.model.events import encode_events
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.model.spec import ParentLink
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import (
    CommitResult,
    Committed,
    Conflict,
    Fenced,
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
from stepflow_runtime.store import conflicts
from stepflow_runtime.store.content import check_blob_id, verify_content
from stepflow_runtime.store.leases import find_shard, grant_all
from stepflow_runtime.store.memory_byproducts import MemoryByproducts
from stepflow_runtime.store.memory_registry import MemoryDeliveries, MemoryRegistry
from stepflow_runtime.store.watch import WatchHub, is_due

_LIVE = frozenset(RunState) - {RunState.FAILED, RunState.CANCELLED}


class _Run:
    """All that is kept of one run. `ends` holds, per journal row, how many items had ended after it, and `positions`
    the row's place among those of all runs."""

    __slots__ = ("chunks", "ends", "inputs", "journal", "positions", "record", "snapshot")

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.journal: list[JournalRow] = []
        self.ends: list[int] = []
        self.positions: list[int] = []
        self.inputs: list[InputSegment] = []
        self.chunks: dict[int, ResultChunk] = {}
        self.snapshot: tuple[int, bytes] | None = None


class MemoryStore:
    """`Store` and `BlobStore` in memory. It is new, so nothing stopped before it."""

    after_clean_stop = True

    def __init__(self) -> None:
        self.stops_cleanly = False
        self._leases = grant_all("memory", 1)
        self._runs: dict[RunId, _Run] = {}
        self._children: dict[RunId, dict[RunId, None]] = {}
        self._by_parent: dict[ParentLink, RunId] = {}
        """The newest sub-run under each key."""
        self._by_idempotency_key: dict[tuple[str, str], RunId] = {}
        self._rows = 0
        self._outbox: dict[tuple[RunId, int], Message] = {}
        self._blobs: dict[BlobId, tuple[bytes, BlobType]] = {}
        self.registry = MemoryRegistry()
        self.byproducts = MemoryByproducts(self)
        self.deliveries = MemoryDeliveries()
        self.hub = WatchHub()

    # --- writing ---

    def lease(self, root_run_id: RunId) -> Lease:
        return self._leases[find_shard(root_run_id)]

    async def commit(self, writes: Sequence[RunWrite]) -> list[CommitResult]:
        return [self._commit_one(write) for write in writes]

    def _commit_one(self, write: RunWrite) -> CommitResult:
        if write.lease != self._leases[write.lease.shard]:
            return Fenced()
        run = self._runs.get(write.run_id)
        events = encode_events(write.events)
        conflict = self._find_conflict(write, run)
        if conflict is not None:
            return Committed(write.expected_seq + len(write.events)) if _is_there(write, events, run) else conflict
        progress = copy.copy(write.progress)
        progress.seq = write.expected_seq + len(write.events)
        if write.spec is not None:
            run = self._create(RunRecord(write.spec, progress))
        assert run is not None
        run.record = RunRecord(run.record.spec, progress)
        if write.events:
            run.journal.append(
                JournalRow(write.expected_seq + 1, progress.seq, write.at_ms, write.completions_before, events)
            )
            run.ends.append(progress.completions)
            self._rows += 1
            run.positions.append(self._rows)
        run.inputs.extend(write.segments)
        run.chunks.update((chunk.chunk, chunk) for chunk in write.chunks)
        if write.snapshot is not None:
            run.snapshot = (progress.seq, write.snapshot)
        self._outbox.update(((message.run_id, message.seq), message) for message in write.outbox)
        self.deliveries.add(write.deliveries)
        self.hub.notify(write.run_id, progress)
        self.hub.notify_shard(write.lease.shard)
        if write.byproducts is not None:
            self.byproducts.add(write.run_id, write.byproducts)
        return Committed(progress.seq)

    def _find_conflict(self, write: RunWrite, run: _Run | None) -> Conflict | None:
        spec = write.spec
        if spec is None:
            if run is None:
                return conflicts.missing(write)
            seq = run.record.progress.seq
            return None if seq == write.expected_seq else conflicts.moved(write, seq)
        if run is not None:
            return conflicts.run_exists(write.run_id)
        if spec.fork is not None and spec.fork.origin not in self._runs:
            return conflicts.origin_gone(spec.fork.origin)
        if spec.idempotency is not None:
            existing = self._by_idempotency_key.get((spec.idempotency.principal, spec.idempotency.key))
            if existing is not None:
                return conflicts.idempotency_key_used(existing)
        parent = spec.parent
        if parent is not None and parent.key is not None:
            existing = self._by_parent.get(parent)
            if existing is not None and self._runs[existing].record.progress.status in _LIVE:
                return conflicts.child_exists(existing)
        return None

    def _create(self, record: RunRecord) -> _Run:
        spec = record.spec
        run = self._runs[spec.run_id] = _Run(record)
        if spec.parent is not None:
            self._children.setdefault(spec.parent.run_id, {})[spec.run_id] = None
            self._by_parent[spec.parent] = spec.run_id
        if spec.idempotency is not None:
            self._by_idempotency_key[spec.idempotency.principal, spec.idempotency.key] = spec.run_id
        return run

    async def settle(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._outbox.pop((message.run_id, message.seq), None)

    async def delete(self, run_ids: Sequence[RunId]) -> None:
        runs = [run for run_id in run_ids if (run := self._runs.get(run_id))]
        for run in runs:
            if run.record.progress.status not in TERMINAL_RUN_STATES:
                raise conflicts.not_ended(run.record.spec.run_id)
        for run_id, run in self._runs.items():
            fork = run.record.spec.fork
            if fork is not None and fork.origin in run_ids and run_id not in run_ids:
                raise conflicts.needed_by_fork(fork.origin, run_id)
        for run in runs:
            self._delete_one(run.record)
            await self.deliveries.forget(run.record.spec.run_id)

    def _delete_one(self, record: RunRecord) -> None:
        spec = record.spec
        del self._runs[spec.run_id]
        if spec.parent is not None:
            siblings = self._children[spec.parent.run_id]
            del siblings[spec.run_id]
            if self._by_parent[spec.parent] == spec.run_id:
                del self._by_parent[spec.parent]
            if not siblings:
                del self._children[spec.parent.run_id]
        if spec.idempotency is not None:
            del self._by_idempotency_key[spec.idempotency.principal, spec.idempotency.key]
        for key in [key for key in self._outbox if key[0] == spec.run_id]:
            del self._outbox[key]
        self.byproducts.forget(spec.run_id)
        self.hub.forget(spec.run_id)

    # --- runs ---

    def watch(self, run_id: RunId, after_seq: int, until: WatchFor = WatchFor.CHANGE) -> Awaitable[RunProgress | None]:
        run = self._runs.get(run_id)
        if run is None:
            return arrived(None)
        if is_due(run.record.progress, after_seq, until):
            return arrived(run.record.progress)
        return self.hub.wait(run_id, after_seq, until)

    async def run(self, run_id: RunId) -> RunRecord | None:
        run = self._runs.get(run_id)
        return None if run is None else run.record

    async def runs(self, where: RunFilter, before: RunId | None, limit: int) -> list[RunRecord]:
        found: list[RunRecord] = []
        for run_id in sorted(self._runs, reverse=True):
            if len(found) == limit:
                break
            record = self._runs[run_id].record
            if (before is None or run_id < before) and _matches(record, where):
                found.append(record)
        return found

    async def unfinished(self) -> list[RunId]:
        return sorted(
            run_id for run_id, run in self._runs.items() if run.record.progress.status not in TERMINAL_RUN_STATES
        )

    async def children(self, run_id: RunId) -> list[RunRecord]:
        return self._children_of(run_id)

    async def child(self, parent: RunId, item_index: int, step_id: str, key: str) -> RunRecord | None:
        for record in reversed(await self.children_of_step(parent, item_index, step_id)):
            if record.spec.parent is not None and record.spec.parent.key == key:
                return record
        return None

    async def children_of_step(self, parent: RunId, item_index: int, step_id: str) -> list[RunRecord]:
        return [
            record
            for record in self._children_of(parent)
            if (link := record.spec.parent) is not None and (link.item_index, link.step_id) == (item_index, step_id)
        ]

    def _children_of(self, run_id: RunId) -> list[RunRecord]:
        return [self._runs[child].record for child in sorted(self._children.get(run_id, ()))]

    async def run_by_idempotency_key(self, principal: str, key: str) -> RunRecord | None:
        run_id = self._by_idempotency_key.get((principal, key))
        return None if run_id is None else self._runs[run_id].record

    # --- what a run consists of ---

    async def journal(self, run_id: RunId, from_seq: int, max_rows: int) -> list[JournalRow]:
        run = self._runs.get(run_id)
        if run is None:
            return []
        first = bisect_left(run.journal, from_seq, key=lambda row: row.last_seq)
        return run.journal[first : first + max_rows]

    async def journal_at_completion(self, run_id: RunId, ordinal: int, max_rows: int) -> list[JournalRow]:
        run = self._runs.get(run_id)
        if run is None:
            return []
        first = bisect_right(run.ends, ordinal)
        return run.journal[first : first + max_rows]

    async def tree_journal(self, root_run_id: RunId, after: int, max_rows: int) -> list[TreeRow]:
        found: list[TreeRow] = []
        for run_id, run in self._runs.items():
            if run.record.spec.root_run_id == root_run_id:
                first = bisect_right(run.positions, after)
                rows = zip(run.positions[first : first + max_rows], run.journal[first : first + max_rows], strict=True)
                found.extend(TreeRow(position, run_id, row) for position, row in rows)
        return sorted(found, key=lambda row: row.position)[:max_rows]

    async def watch_tree(self, root_run_id: RunId, after: int) -> None:
        if not await self.tree_journal(root_run_id, after, 1):
            await self.hub.wait_shard(find_shard(root_run_id))

    async def chunks(self, run_id: RunId, first: int, last: int) -> list[ResultChunk]:
        run = self._runs.get(run_id)
        if run is None:
            return []
        return [run.chunks[number] for number in range(first, last + 1) if number in run.chunks]

    async def inputs(self, run_id: RunId, index: int) -> InputSegment | None:
        run = self._runs.get(run_id)
        if run is None:
            return None
        position = bisect_right(run.inputs, index, key=lambda segment: segment.first_index)
        segment = run.inputs[position - 1] if position else None
        return segment if segment is not None and index < segment.first_index + segment.count else None

    async def snapshot(self, run_id: RunId) -> tuple[int, bytes] | None:
        run = self._runs.get(run_id)
        return None if run is None else run.snapshot

    async def outbox(self) -> list[Message]:
        return list(self._outbox.values())

    # --- blobs ---

    async def put(self, blob_id: BlobId, data: bytes, blob_type: BlobType) -> None:
        check_blob_id(blob_id)
        _, first_type = self._blobs.get(blob_id, (data, blob_type))
        self._blobs[blob_id] = (data, first_type)

    async def get(self, blob_id: BlobId) -> tuple[bytes, BlobType] | None:
        blob = self._blobs.get(blob_id)
        if blob is not None:
            verify_content(blob_id, blob[0])
        return blob


def _is_there(write: RunWrite, events: bytes, run: _Run | None) -> bool:
    """Whether this very write was made before, and its writer does not know."""
    first_seq, last_seq = write.expected_seq + 1, write.expected_seq + len(write.events)
    row = JournalRow(first_seq, last_seq, write.at_ms, write.completions_before, events)
    first = 0 if run is None else bisect_left(run.journal, last_seq, key=lambda row: row.last_seq)
    return run is not None and row in run.journal[first : first + 1]


def _matches(record: RunRecord, where: RunFilter) -> bool:
    spec = record.spec
    parent_run_id = spec.parent.run_id if spec.parent is not None else None
    return (
        where.status in (None, record.progress.status)
        and where.flow_id in (None, spec.flow_id)
        and where.flow_name in (None, spec.flow_name)
        and where.parent_run_id in (None, parent_run_id)
        and where.root_run_id in (None, spec.root_run_id)
        and where.job_run_id in (None, spec.job_run_id)
        and where.forked_from in (None, spec.fork.origin if spec.fork is not None else "")
        and (where.labels or {}).items() <= spec.labels.items()
        and (where.created_after_ms is None or spec.created_at_ms > where.created_after_ms)
        and (where.created_before_ms is None or spec.created_at_ms < where.created_before_ms)
    )


@asynccontextmanager
async def open_memory() -> AsyncGenerator[MemoryStore, None]:
    """A new, empty store that is forgotten with the object."""
    yield MemoryStore()
