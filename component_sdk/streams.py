"""Streams of a run: a writer for components and clients, and a reader that follows.

A write returns when its chunk is durable, which throttles a fast writer; what is written at the same time goes in one
request. A reader asks for what comes after what it has, so a lost connection costs nothing and doubles nothing.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import trio
from msgspec import Raw, Struct

from component_sdk.caller import Caller, ask_about_run
from component_sdk.codec import convert, encode
from component_sdk.errors import SdkError
from component_sdk.paging import Paged
from protocol import methods
from protocol.byproducts import Encoding, ReadStreamResult, StreamParams, TailResult, WriteStreamParams
from protocol.types import Observability

if TYPE_CHECKING:
    import asyncio

MAX_CHUNKS: Final = 500
MAX_BYTES: Final = 1024 * 1024
"""Of one request that several writes share."""


class _Pending:
    """A chunk that waits to be written."""

    __slots__ = ("chunk", "encoding", "error", "leads", "tail", "turn")

    def __init__(self, chunk: bytes, encoding: Encoding) -> None:
        self.chunk = chunk
        self.encoding = encoding
        self.turn = _make_event()
        self.leads = False
        self.tail: int | None = None
        self.error: Exception | None = None

    @property
    def is_settled(self) -> bool:
        return self.tail is not None or self.error is not None


class StreamWriter:
    """Writes to one stream of a run; see `StepflowContext.stream` and `Run.writer`.

    A step that is executed again may write as before: what an earlier attempt wrote is there, and is not doubled. Nor
    is what a client writes again because its connection was lost: each of its requests has a key of its own.

    Args:
        caller: Takes requests to the runtime.
        run_id: Whose stream it is.
        namespace: Which of its streams.
        observability: Goes with every request; `None` for a client.
    """

    def __init__(self, caller: Caller, run_id: str, namespace: str, observability: Observability | None) -> None:
        self.namespace = namespace
        self._caller = caller
        self._run_id = run_id
        self._observability = observability
        self._waiting: list[_Pending] = []
        self._has_leader = False

    async def write(self, chunk: Any, *, key: str | None = None) -> int:
        """Add a chunk to the end of the stream.

        Args:
            chunk: JSON, or what can be written as JSON; or `bytes`.
            key: The step writes once under it, in whatever attempt, even if the chunk is another one then; so do all
                clients together.

        Returns:
            How many chunks the stream has: the index of the next one.

        Raises:
            RpcError: `STREAM_CLOSED`, `LIMIT_EXCEEDED`, `NOT_CURRENT`.
            RunNotFoundError: There is no such run.

        Cancellation:
            The chunk may be written nevertheless.
        """
        encoding = Encoding.BASE64 if isinstance(chunk, bytes | bytearray | memoryview) else Encoding.JSON
        if key is not None:
            return await self._send([encode(chunk)], encoding, key)
        pending = _Pending(encode(chunk), encoding)
        self._waiting.append(pending)
        try:
            if self._has_leader:
                await pending.turn.wait()
            else:
                self._has_leader = pending.leads = True
            if pending.leads:
                await _let_others_join()
                await self._lead()
        finally:
            if pending in self._waiting:
                self._waiting.remove(pending)
            if pending.leads:
                self._hand_over()
        if pending.error is not None:
            raise pending.error
        assert pending.tail is not None
        return pending.tail

    async def close(self) -> int:
        """End the stream before the run ends.

        Returns:
            How many chunks it has.
        """
        params = StreamParams(self._run_id, self.namespace, observability=self._observability)
        return await self._ask(methods.CLOSE_STREAM, params)

    async def _lead(self) -> None:
        """Writes what waits, as far as it goes in one request; the leader's own chunk is the first."""
        batch = self._take_batch()
        try:
            tail = await self._send([pending.chunk for pending in batch], batch[0].encoding, None)
        except Exception as error:
            for pending in batch:
                pending.error = error
        except BaseException:
            for pending in batch:
                pending.error = SdkError("The write was cancelled with another one that went in the same request.")
            raise
        else:
            for pending in batch:
                pending.tail = tail
        finally:
            for pending in batch:
                pending.turn.set()

    def _take_batch(self) -> list[_Pending]:
        encoding, size, count = self._waiting[0].encoding, 0, 0
        for pending in self._waiting[:MAX_CHUNKS]:
            size += len(pending.chunk)
            if pending.encoding is not encoding or (count and size > MAX_BYTES):
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    def _hand_over(self) -> None:
        self._has_leader = bool(self._waiting)
        if self._waiting:
            self._waiting[0].leads = True
            self._waiting[0].turn.set()

    async def _send(self, chunks: list[bytes], encoding: Encoding, key: str | None) -> int:
        if key is None and self._observability is None:
            key = uuid.uuid4().hex
        params = WriteStreamParams(
            self._run_id,
            [Raw(chunk) for chunk in chunks],
            self.namespace,
            None if encoding is Encoding.JSON else encoding,
            key,
            self._observability,
        )
        return await self._ask(methods.WRITE_STREAM, params)

    async def _ask(self, method: methods.Method, params: Struct) -> int:
        result: TailResult = await ask_about_run(self._caller, self._run_id, method, params)
        return result.tail_index


def _make_event() -> trio.Event | asyncio.Event:
    """An event of whichever of the two runs the component."""
    if trio.lowlevel.in_trio_run():
        return trio.Event()
    import asyncio

    return asyncio.Event()


async def _let_others_join() -> None:
    if trio.lowlevel.in_trio_run():
        await trio.lowlevel.checkpoint()
        return
    import asyncio

    await asyncio.sleep(0)


class StreamPages:
    """Pages of a stream, each waited for.

    Attributes:
        next_index: Of the chunk after those that were fetched.
    """

    def __init__(self, read: Callable[[int], Awaitable[ReadStreamResult]], start_index: int, type: Any) -> None:
        self._read = read
        self._type = type
        self._is_done = False
        self.next_index = start_index

    async def fetch(self) -> list[Any] | None:
        while not self._is_done:
            page = await self._read(self.next_index)
            self.next_index, self._is_done = page.next_index, page.done
            if page.chunks:
                return [
                    base64.b64decode(chunk.data)
                    if chunk.encoding == Encoding.BASE64
                    else convert(chunk.data, self._type)
                    for chunk in page.chunks
                ]
        return None


class StreamReader(Paged[Any]):
    """An asynchronous iterator over the chunks of a stream; it ends with the stream, or with its run."""

    def __init__(self, pages: StreamPages) -> None:
        super().__init__(pages.fetch)
        self._pages = pages

    @property
    def next_index(self) -> int:
        """Of the chunk that comes next: begin there to go on later. Before the first it is as it was given."""
        return self._pages.next_index - len(self._page)
