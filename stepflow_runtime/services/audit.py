"""Whether what is stored fits together: journals are folded and compared with their projections, blobs with their ids.

It reads, and writes nothing; it knows no database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Protocol

import msgspec

from protocol.types import BlobType
from stepflow_runtime.engine.facts import RunFacts
from stepflow_runtime.engine.folds import fold
from stepflow_runtime.engine.snapshot import restore_facts, take_snapshot
from stepflow_runtime.model.events import decode_events
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.ports import (
    InputSegment,
    JournalRow,
    ResultChunk,
    RunFilter,
    RunProgress,
    RunRecord,
    StoreCorrupt,
)

PAGE: Final = 256


class Readable(Protocol):
    """What an audit reads; see `ports.Store` and `ports.BlobStore`."""

    async def runs(self, where: RunFilter, before: RunId | None, limit: int) -> list[RunRecord]: ...

    async def journal(self, run_id: RunId, from_seq: int, max_rows: int) -> list[JournalRow]: ...

    async def chunks(self, run_id: RunId, first: int, last: int) -> list[ResultChunk]: ...

    async def inputs(self, run_id: RunId, index: int) -> InputSegment | None: ...

    async def snapshot(self, run_id: RunId) -> tuple[int, bytes] | None: ...

    async def get(self, blob_id: BlobId) -> tuple[bytes, BlobType] | None: ...

    async def blob_ids(self, after: str, limit: int) -> list[BlobId]: ...


class Audit:
    """One look at everything.

    Attributes:
        runs, blobs: How many were looked at.
    """

    def __init__(self, store: Readable) -> None:
        self._store = store
        self.runs = 0
        self.blobs = 0

    async def find_faults(self) -> AsyncIterator[str]:
        """What is wrong, a sentence each."""
        before: RunId | None = None
        try:
            while records := await self._store.runs(RunFilter(), before, PAGE):
                for record in records:
                    self.runs += 1
                    async for fault in self._check_run(record):
                        yield f"run {record.spec.run_id}: {fault}"
                before = records[-1].spec.run_id
        except msgspec.MsgspecError as error:
            yield f"a run before {before or 'all others'} cannot be read: {error}"
        after = ""
        while ids := await self._store.blob_ids(after, PAGE):
            for blob_id in ids:
                self.blobs += 1
                try:
                    await self._store.get(blob_id)
                except StoreCorrupt as error:
                    yield str(error)
            after = ids[-1]

    async def _check_run(self, record: RunRecord) -> AsyncIterator[str]:
        run_id, spec = record.spec.run_id, record.spec
        try:
            if await self._store.get(spec.flow_id) is None:
                yield f"its flow {spec.flow_id} is not there; put it again"
        except StoreCorrupt:
            pass  # told with the blobs
        facts, chunks = RunFacts(), dict[int, bytes]()
        saved = await self._store.snapshot(run_id)
        while rows := await self._store.journal(run_id, facts.seq + 1, PAGE):
            for row in rows:
                fault = _fold(row, facts, chunks)
                if fault is None and saved is not None and saved[0] == facts.seq:
                    fault = _check_snapshot(saved, facts)
                if fault is not None:
                    yield fault
                    return
        if facts.spec != spec:
            yield "what was submitted is not what its journal says"
        differing = _differences(facts.progress, record.progress)
        if differing:
            yield f"its status is not what its journal says, in {', '.join(differing)}"
        stored = await self._store.chunks(run_id, 0, max(chunks, default=0))
        if {chunk.chunk: chunk.refs for chunk in stored} != chunks:
            yield "the index of its results is not what its journal says"
        async for fault in self._check_inputs(spec.inputs_of, record.progress.total):
            yield fault

    async def _check_inputs(self, run_id: RunId, total: int) -> AsyncIterator[str]:
        index = 0
        while index < total:
            segment = await self._store.inputs(run_id, index)
            if segment is None or segment.first_index != index or segment.data.count(b"\n") != segment.count - 1:
                yield f"its inputs are not whole, from item {index} on"
                return
            index += segment.count


def _fold(row: JournalRow, facts: RunFacts, chunks: dict[int, bytes]) -> str | None:
    """Folds a row; tells what is wrong with it."""
    if row.first_seq != facts.seq + 1:
        return f"its journal has a gap after event {facts.seq}"
    if row.completions_before != facts.progress.completions:
        return f"its journal miscounts what had ended before event {row.first_seq}"
    try:
        for event in decode_events(row.events):
            fold(facts, event)
    except (msgspec.MsgspecError, LookupError, AssertionError, ValueError) as error:
        return f"its journal cannot be read after event {facts.seq}: {type(error).__name__}: {error}"
    if facts.seq != row.last_seq:
        return f"its journal ends a commit at event {facts.seq} and says {row.last_seq}"
    facts.stamp(row.at_ms)
    chunks.update((chunk.chunk, chunk.refs) for chunk in facts.results.take_touched())
    return None


def _check_snapshot(saved: tuple[int, bytes], facts: RunFacts) -> str | None:
    try:
        restored = restore_facts(*saved)
    except (msgspec.MsgspecError, LookupError) as error:
        return f"its snapshot cannot be read: {error}"
    if _content(restored) != _content(facts):
        return "its snapshot is not what its journal says"
    return None


def _content(facts: RunFacts) -> dict[str, Any]:
    """What a snapshot holds; the order of items means nothing."""
    content: dict[str, Any] = msgspec.json.decode(take_snapshot(facts))
    return content | {name: sorted(content[name]) for name in ("live", "skipped", "held")}


def _differences(folded: RunProgress, stored: RunProgress) -> Sequence[str]:
    ours, theirs = msgspec.structs.asdict(folded), msgspec.structs.asdict(stored)
    return [name for name in ours if ours[name] != theirs[name]]
