"""Writing to streams of a run (PROTOCOL §4): in the order of the answers, each given when its chunks are durable.

That throttles a fast writer. A step that is executed again doubles nothing: a chunk that an earlier attempt wrote, and
this one has not yet, is found again; a write with a `writeKey` is found by that alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from blake3 import blake3

from protocol.byproducts import DEFAULT_NAMESPACE, Encoding, StreamParams, TailResult, WriteStreamParams
from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.engine.byproducts import RunByproducts
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import ByproductStore, Execution, StreamState, StreamWrite
from stepflow_runtime.services.byproducts.additions import Additions, ByproductLimits, Target
from stepflow_runtime.services.submission import limit_exceeded

STORED_BYTES: Final = 1024 * 1024
"""What is written at once is stored in parts of about this size, so that a reader need not load more than it gives."""


class StreamWriter:
    """Writes to streams.

    Args:
        additions: Finds the run.
        byproducts: Has the streams.
        limits: Of streams.
    """

    def __init__(self, additions: Additions, byproducts: ByproductStore, limits: ByproductLimits) -> None:
        self._additions = additions
        self._byproducts = byproducts
        self._limits = limits

    async def write(self, params: WriteStreamParams, connection: Connection) -> TailResult:
        """`runs/streams/write`: answered when the chunks are durable.

        Raises:
            RpcError: `RUN_NOT_FOUND`, `NOT_CURRENT`, `STREAM_CLOSED`, `LIMIT_EXCEEDED`; `INVALID_PARAMS` for what is
                no base64.
        """
        target = await self._additions.open(params.run_id, connection, params.observability)
        namespace, encoding = params.namespace or DEFAULT_NAMESPACE, params.encoding or Encoding.JSON
        chunks = [bytes(chunk) for chunk in params.chunks]
        self._check(chunks, encoding, target.run_id)
        key = None if params.write_key is None else f"{target.writer or ''}\n{params.write_key}"
        if key is not None and await self._is_written(target, namespace, key):
            chunks = []
        if key is None and target.execution is not None and target.execution.attempt > 1:
            chunks = _drop_echoes(chunks, encoding, await self._find_echoes(target, target.execution, namespace))
        claimed = self._additions.claim(target)
        if claimed is None:
            return await self._answer_ended(target, namespace, chunks)
        run, made = claimed
        if chunks:
            self._refuse_excess(made, namespace, chunks, target.run_id)
            for write in _make_writes(namespace, _tail(made, namespace), encoding, target.writer, key, chunks):
                made.write(write)
        tail = _tail(made, namespace)
        await self._additions.commit(run)  # also if all was found again: it may be on its way
        return TailResult(tail)

    async def close(self, params: StreamParams, connection: Connection) -> TailResult:
        """`runs/streams/close`: nothing more can be written. What is closed stays so."""
        target = await self._additions.open(params.run_id, connection, params.observability)
        namespace = params.namespace or DEFAULT_NAMESPACE
        claimed = self._additions.claim(target)
        if claimed is None:
            return await self._answer_ended(target, namespace, ())
        run, made = claimed
        stream = made.stream(namespace)
        if stream is None:
            self._refuse_another(made, target.run_id)
        if stream is None or not stream.closed:
            made.close(namespace)
        await self._additions.commit(run)
        return TailResult(_tail(made, namespace))

    async def _answer_ended(self, target: Target, namespace: str, chunks: Sequence[bytes]) -> TailResult:
        if chunks:
            raise _stream_closed(namespace, target.run_id)
        stream = await self._byproducts.stream(target.run_id, namespace)
        return TailResult(0 if stream is None else stream.tail)

    def _check(self, chunks: Sequence[bytes], encoding: Encoding, run_id: RunId) -> None:
        limits = self._limits
        if len(chunks) > limits.max_stream_write_chunks:
            why = "too many chunks at once; write them in several requests"
            raise limit_exceeded("maxStreamWriteChunks", limits.max_stream_write_chunks, len(chunks), why, runId=run_id)
        for index, chunk in enumerate(chunks):
            if len(chunk) > limits.max_stream_chunk_bytes:
                why = "a chunk is too large; write it in parts, or put it as a blob and write its id"
                raise limit_exceeded(
                    "maxStreamChunkBytes", limits.max_stream_chunk_bytes, len(chunk), why, runId=run_id
                )
            if encoding is Encoding.BASE64:
                _check_base64(chunk, index)

    def _refuse_excess(self, made: RunByproducts, namespace: str, chunks: Sequence[bytes], run_id: RunId) -> None:
        stream = made.stream(namespace)
        if stream is None:
            self._refuse_another(made, run_id)
            stream = StreamState(namespace)
        if stream.closed:
            raise _stream_closed(namespace, run_id)
        size, limit = stream.size + sum(map(len, chunks)), self._limits.max_stream_bytes
        if size > limit:
            why = f"the stream {namespace!r} would grow too large; write to another namespace, or put blobs"
            raise limit_exceeded("maxStreamBytes", limit, size, why, runId=run_id)

    def _refuse_another(self, made: RunByproducts, run_id: RunId) -> None:
        limit = self._limits.max_streams
        if len(made) >= limit:
            why = "the run has too many streams; write to one of those that are there"
            raise limit_exceeded("maxStreams", limit, len(made) + 1, why, runId=run_id)

    async def _is_written(self, target: Target, namespace: str, key: str) -> bool:
        """Whether a write with this key is there, or on its way."""
        while True:
            claimed = self._additions.claim(target)
            if claimed is None:
                return await self._byproducts.has_write(target.run_id, namespace, key)
            _, made = claimed
            takes = made.takes
            if made.has_write(namespace, key) or await self._byproducts.has_write(target.run_id, namespace, key):
                return True
            if made.takes - takes <= 1:  # what came while the store was asked is still found
                return made.has_write(namespace, key)

    async def _find_echoes(self, target: Target, execution: Execution, namespace: str) -> Counter[bytes]:
        """What earlier attempts of the step wrote to this stream and this one has not written yet, by hash."""
        echoes = execution.echoes = {} if execution.echoes is None else execution.echoes
        place = (target.run_id, namespace)
        if place not in echoes:
            assert target.writer is not None
            written = await self._byproducts.writes_of(target.run_id, namespace, target.writer)
            found = Counter(_hash(chunk, write.encoding) for write in written for chunk in write.data.split(b"\n"))
            echoes.setdefault(place, found)
        return echoes[place]


def _tail(made: RunByproducts, namespace: str) -> int:
    stream = made.stream(namespace)
    return 0 if stream is None else stream.tail


def _make_writes(
    namespace: str, tail: int, encoding: Encoding, writer: str | None, key: str | None, chunks: Sequence[bytes]
) -> Iterator[StreamWrite]:
    """Chunks as they are stored. Of several parts, each after the first has a key of its own."""
    part: list[bytes] = []
    size = number = 0
    for chunk in [*chunks, None]:
        if part and (chunk is None or size + len(chunk) > STORED_BYTES):
            name = key if key is None or not number else f"{key}\n{number}"
            yield StreamWrite(namespace, tail, len(part), encoding, writer, name, b"\n".join(part))
            tail, number = tail + len(part), number + 1
            part, size = [], 0
        if chunk is not None:
            part.append(chunk)
            size += len(chunk)


def _drop_echoes(chunks: Sequence[bytes], encoding: Encoding, echoes: Counter[bytes]) -> list[bytes]:
    """The chunks that no earlier attempt wrote; those that one did are crossed off."""
    new: list[bytes] = []
    for chunk in chunks:
        digest = _hash(chunk, encoding)
        if echoes[digest] > 0:
            echoes[digest] -= 1
        else:
            new.append(chunk)
    return new


def _hash(chunk: bytes, encoding: Encoding) -> bytes:
    return blake3(encoding.encode() + chunk).digest(16)


def _check_base64(chunk: bytes, index: int) -> None:
    try:
        msgspec.json.decode(chunk, type=bytes)
    except msgspec.MsgspecError as error:
        raise RpcError(
            ErrorCode.INVALID_PARAMS, f"a chunk is no string of base64: {error}", path=f"$.chunks[{index}]"
        ) from error


def _stream_closed(namespace: str, run_id: RunId) -> RpcError:
    message = f"the stream {namespace!r} of run {run_id} is closed: nothing more can be written to it"
    return RpcError(ErrorCode.STREAM_CLOSED, message, kind="stream", runId=run_id)
