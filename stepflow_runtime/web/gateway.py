"""The way from HTTP to the methods of the runtime: links within the process."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
from msgspec import Struct

from protocol.link import Link
from protocol.methods import Method, Side
from protocol.streams import ByteStream, memory_stream_pair
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.connect.links import RuntimeLinks
from stepflow_runtime.connect.tokens import Role
from stepflow_runtime.model.trace import SpanContext

ROLES: Final[tuple[Role, ...]] = ("client", "read-only")


class Gateway:
    """Calls the runtime's methods for who came in over HTTP. Made by `open_gateway`.

    Args:
        links: Makes the runtime's ends.
        callers: Our ends, by what they may do.
    """

    def __init__(self, links: RuntimeLinks, callers: dict[Role, Link]) -> None:
        self._links = links
        self._callers = callers
        self.max_frame_bytes = links.limits.max_frame_bytes

    async def call(self, method: Method, params: Struct, role: Role = "client") -> Any:
        """Calls a method of the catalogue.

        Raises:
            RpcError: What the method answered.

        Cancellation: the method is told that nobody waits any more.
        """
        return await self._callers[role].call(method, params)

    async def exchange(self, line: bytes, role: Role, trace: SpanContext | None = None) -> bytes:
        """Hands in one line, a message or a batch, as it came, and gives the line that answers it.

        Args:
            line: Without its end; it wants an answer.
            trace: Where the caller stands in a trace: runs that it submits go on there.

        Cancellation: what the line asked for is cancelled.
        """
        ours, theirs = memory_stream_pair(self.max_frame_bytes)
        connection = Connection("http", role)
        connection.trace = trace
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._links.make(theirs, connection).run)
            nursery.start_soon(ours.wait_send_all, line + b"\n")
            answer = await _read_line(ours)
            nursery.cancel_scope.cancel()
        await ours.aclose()
        return answer


async def _read_line(stream: ByteStream) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        chunk = await stream.receive_some()
        if not chunk:
            break
        received += chunk
    return bytes(received.rstrip())


@asynccontextmanager
async def open_gateway(links: RuntimeLinks) -> AsyncGenerator[Gateway]:
    """A gateway for as long as HTTP is served."""
    callers: dict[Role, Link] = {}
    async with trio.open_nursery() as nursery:
        for role in ROLES:
            ours, theirs = memory_stream_pair()
            nursery.start_soon(links.make(theirs, Connection("http", role)).run)
            callers[role] = Link(
                ours, side=Side.SERVER, limits=links.limits, name="runtime", peer_capabilities=("cancel",)
            )
            callers[role].peer_limits = links.limits
            await nursery.start(callers[role].run)
        yield Gateway(links, callers)
        nursery.cancel_scope.cancel()
