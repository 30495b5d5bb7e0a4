"""Reading streams of a run (PROTOCOL §4): from any index, live and afterwards, by as many readers as there are.

A reader pulls, so a slow one costs nothing; one that waits is woken by the commit that brings a chunk.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

import trio
from msgspec import Raw

from protocol.byproducts import (
    DEFAULT_NAMESPACE,
    Encoding,
    ListStreamsResult,
    ReadStreamParams,
    ReadStreamResult,
    StreamChunk,
    StreamInfo,
)
from protocol.errors import ErrorCode, RpcError
from protocol.runs import RunParams
from stepflow_runtime.connect.connection import Connection, Connections
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import ByproductStore, Execution, StreamState
from stepflow_runtime.services.byproducts.additions import read_writer
from stepflow_runtime.services.lookup import RunLookup
from stepflow_runtime.services.status import run_not_found
from stepflow_runtime.services.visibility import Visibility
from stepflow_runtime.services.waiting import Waiting

DEFAULT_LIMIT: Final = 100
WRITES_PER_READ: Final = 16

CHUNK_OVERHEAD: Final = 64
"""Of an answer, for what a chunk holds besides its data."""


class StreamReader:
    """Reads streams.

    Args:
        byproducts: Has the streams.
        lookup: Finds their runs.
        connections: Tells which execution a request belongs to.
        visibility: Tells what a peer may see.
        waiting: Is told which executions wait.
        max_answer_bytes: Of one answer.
    """

    def __init__(
        self,
        byproducts: ByproductStore,
        lookup: RunLookup,
        connections: Connections,
        visibility: Visibility,
        waiting: Waiting,
        max_answer_bytes: int,
    ) -> None:
        self._byproducts = byproducts
        self._lookup = lookup
        self._connections = connections
        self._visibility = visibility
        self._waiting = waiting
        self._max_answer_bytes = max_answer_bytes

    async def read(self, params: ReadStreamParams, connection: Connection) -> ReadStreamResult:
        """`runs/streams/read`: chunks from `startIndex` on; waits for the first up to `timeoutMs`, woken by its commit.

        Raises:
            RpcError: `RUN_NOT_FOUND`; `NOT_FOUND` for an index beyond the end of a closed stream.
        """
        run_id, namespace = RunId(params.run_id), params.namespace or DEFAULT_NAMESPACE
        record = await self._lookup.find(run_id)
        self._visibility.require(connection, record, run_id, params.observability)
        stream = _require(await self._byproducts.stream(run_id, namespace), run_id)
        start = params.start_index or 0
        start = start if start >= 0 else max(0, stream.tail + start)
        if start >= stream.tail and not stream.closed and params.timeout_ms:
            execution = self._find_reader(connection, params)
            with self._waiting.parked(execution), trio.move_on_after(params.timeout_ms / 1000):
                await self._byproducts.watch_stream(run_id, namespace, start)
            stream = _require(await self._byproducts.stream(run_id, namespace), run_id)
        if start > stream.tail and stream.closed:
            message = f"the stream {namespace!r} ended after {stream.tail} chunks, so there is no chunk {start}"
            raise RpcError(ErrorCode.NOT_FOUND, message, kind="stream", tailIndex=stream.tail, runId=run_id)
        with_writers = bool(params.include_writers)
        chunks = await self._collect(run_id, stream, start, params.limit or DEFAULT_LIMIT, with_writers)
        next_index = start + len(chunks)
        return ReadStreamResult(chunks, start, next_index, stream.tail, stream.closed and next_index == stream.tail)

    def _find_reader(self, connection: Connection, params: ReadStreamParams) -> Execution | None:
        try:
            return self._connections.find_execution(connection, params.observability)
        except RpcError:  # who reads need not be current
            return None

    async def _collect(
        self, run_id: RunId, stream: StreamState, start: int, limit: int, with_writers: bool
    ) -> list[StreamChunk]:
        """The chunks from `start` on that fit an answer, at least one if there is one."""
        found: list[StreamChunk] = []
        budget, end = self._max_answer_bytes, min(stream.tail, start + limit)
        while start < end:
            for write in await self._byproducts.writes(run_id, stream.namespace, start, WRITES_PER_READ):
                encoding = None if write.encoding is Encoding.JSON else write.encoding
                writer = None if write.writer is None or not with_writers else read_writer(write.writer)
                for chunk in islice(write.data.split(b"\n"), start - write.first_index, end - write.first_index):
                    budget -= len(chunk) + CHUNK_OVERHEAD
                    if budget < 0 and found:
                        return found
                    found.append(StreamChunk(start, Raw(chunk), encoding, writer))
                    start += 1
                if start == end:
                    break
            await trio.lowlevel.checkpoint()
        return found

    async def list_all(self, params: RunParams, connection: Connection) -> ListStreamsResult:
        """`runs/streams/list`: by namespace."""
        run_id = RunId(params.run_id)
        record = self._visibility.require(
            connection, await self._lookup.find(run_id), params.run_id, params.observability
        )
        has_ended = record.progress.status in TERMINAL_RUN_STATES
        return ListStreamsResult(
            [
                StreamInfo(stream.namespace, stream.tail, stream.closed or has_ended)
                for stream in await self._byproducts.streams(run_id)
            ]
        )


def _require(stream: StreamState | None, run_id: RunId) -> StreamState:
    if stream is None:
        raise run_not_found(run_id)
    return stream
