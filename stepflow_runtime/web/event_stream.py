"""Server-sent events: an answer that grows for as long as somebody reads it.

The next event is written when the connection has taken the one before, so a slow reader costs nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from protocol.errors import ProtocolError
from stepflow_runtime.web.leaving import cancel_when_gone

KEEP_ALIVE_MS: Final = 15_000
"""After so long without an event something is written, so that nobody between takes the connection for dead."""

KEEP_ALIVE: Final = b":\n\n"

RECONNECT: Final = b"retry: 1000\n\n"

Write = Callable[[bytes], Awaitable[None]]


class EventStream(Response):
    """The answer.

    Args:
        produce: Writes the events until there are no more. It is cancelled when the reader leaves.
    """

    media_type = "text/event-stream"

    def __init__(self, produce: Callable[[Write], Awaitable[None]]) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._produce = produce

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def write(body: bytes) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": True})

        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_when_gone, receive, nursery.cancel_scope)
            await write(RECONNECT)
            with suppress(ProtocolError):  # the reader comes again, and is told then
                await self._produce(write)
            await send({"type": "http.response.body", "body": b""})
            nursery.cancel_scope.cancel()


def format_event(data: bytes, *, id: str, event: str | None = None) -> bytes:
    """One event.

    Args:
        data: JSON; line ends in it are white space.
        id: What a reader that lost its connection says it has.
        event: Its kind; `message` by default.
    """
    kind = b"" if event is None else b"event: %b\n" % event.encode()
    line = data.replace(b"\r", b" ").replace(b"\n", b" ")
    return b"id: %b\n%bdata: %b\n\n" % (id.encode(), kind, line)
