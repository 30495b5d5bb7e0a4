"""What runs made beside their results, in the SQLite database: the rows of a commit, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import astuple

from protocol.byproducts import Encoding
from protocol.runs import RunState
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import ArtifactRecord, Byproducts, StreamState, StreamWrite
from stepflow_runtime.store.reader import Reader
from stepflow_runtime.store.watch import WatchHub, is_further


def make_rows(byproducts: Byproducts) -> Mapping[str, Sequence[tuple[Any, ...]]]:
    """Rows for statements, by their names; each lacks the run's number, which comes first."""
    return {
        "insert_stream_write": [
            (
                write.first_index + write.count - 1,
                write.namespace,
                write.first_index,
                write.count,
                write.encoding,
                write.writer,
                write.key,
                write.data,
            )
            for write in byproducts.writes
        ],
        "put_stream": [astuple(stream) for stream in byproducts.streams],
        "insert_checkpoint": [astuple(checkpoint) for checkpoint in byproducts.checkpoints],
        "insert_artifact": [astuple(artifact) for artifact in byproducts.artifacts],
    }


class SqliteByproducts:
    """Implements `ports.ByproductStore`."""

    def __init__(self, reader: Reader, hub: WatchHub) -> None:
        self._reader = reader
        self._hub = hub

    async def streams(self, run_id: RunId) -> list[StreamState]:
        return [
            StreamState(namespace, tail, size, bool(closed))
            for namespace, tail, size, closed in self._reader.rows("streams", run_id)
        ]

    async def stream(self, run_id: RunId, namespace: str) -> StreamState | None:
        return self._stream(run_id, namespace)

    def _stream(self, run_id: RunId, namespace: str) -> StreamState | None:
        rows = self._reader.rows("stream", namespace, run_id)
        if not rows:
            return None
        ((tail, size, closed, status),) = rows
        return StreamState(namespace, tail or 0, size or 0, bool(closed) or RunState(status) in TERMINAL_RUN_STATES)

    async def watch_stream(self, run_id: RunId, namespace: str, tail: int) -> StreamState | None:
        stream = self._stream(run_id, namespace)
        if stream is not None and not is_further(stream, tail):
            await self._hub.wait_stream(run_id, namespace, tail)
            stream = self._stream(run_id, namespace)
        return stream

    async def writes(self, run_id: RunId, namespace: str, index: int, max_writes: int) -> list[StreamWrite]:
        return [_make_write(row) for row in self._reader.rows("stream_writes", run_id, namespace, index, max_writes)]

    async def writes_of(self, run_id: RunId, namespace: str, writer: str) -> list[StreamWrite]:
        return [_make_write(row) for row in self._reader.rows("stream_writes_of", run_id, namespace, writer)]

    async def has_write(self, run_id: RunId, namespace: str, key: str) -> bool:
        return bool(self._reader.rows("has_stream_write", run_id, namespace, key))

    async def checkpoint(self, run_id: RunId, item_index: int, step_id: str, key: str) -> bytes | None:
        rows = self._reader.rows("checkpoint", run_id, item_index, step_id, key)
        return rows[0][0] if rows else None

    async def count_checkpoints(self, run_id: RunId, item_index: int, step_id: str) -> int:
        ((count,),) = self._reader.rows("count_checkpoints", run_id, item_index, step_id)
        found: int = count
        return found

    async def artifacts(self, run_id: RunId) -> list[ArtifactRecord]:
        return [ArtifactRecord(*row) for row in self._reader.rows("artifacts", run_id)]


def _make_write(row: Sequence[Any]) -> StreamWrite:
    namespace, first_index, count, encoding, writer, key, data = row
    return StreamWrite(namespace, first_index, count, Encoding(encoding), writer, key, data)
