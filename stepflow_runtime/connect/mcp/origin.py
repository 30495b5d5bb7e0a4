"""Where MCP servers come from: a process to start, or the address of one over HTTP. See `connect.origin`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import httpx2
import trio
from mcp import MCPError
from mcp.client import Transport
from mcp.client.streamable_http import streamable_http_client

from protocol.streams import ByteStream, memory_stream_pair
from protocol.types import Limits
from stepflow_runtime.connect.mcp.bridge import Bridge, Ending, is_connection_closed
from stepflow_runtime.connect.mcp.lines import carry_lines
from stepflow_runtime.connect.origin import Distant, Opened, Origin, Peer

_TIMEOUT: Final = httpx2.Timeout(30.0, read=None)
"""How long a call may take is the step's matter."""


class McpProcess:
    """An MCP server on stdio.

    Args:
        process: Starts it.
        limits: Of the wire; a message of the server's is no longer than a frame.
    """

    def __init__(self, process: Origin, limits: Limits) -> None:
        self._process = process
        self._limits = limits

    def open(self) -> AbstractAsyncContextManager[Opened]:
        """Starts the process; leaving the context stops it.

        Raises:
            OSError: It could not be started.
        """
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[Opened]:
        async with self._process.open() as process:

            def connect(on_end: Ending) -> Transport:
                return carry_lines(process.stream, on_end, self._limits.max_frame_bytes)

            async with _bridge(connect, process, self._limits, lambda error: False) as bridged:
                yield bridged


class McpAddress:
    """An MCP server over streamable HTTP.

    Args:
        url: Its endpoint.
        limits: Of the wire.
        read_token: Gives the bearer token that it asks for; `None` if it asks for none.
    """

    def __init__(self, url: str, limits: Limits, read_token: Callable[[], str] | None = None) -> None:
        self._url = url
        self._limits = limits
        self._read_token = read_token

    def open(self) -> AbstractAsyncContextManager[Opened]:
        """Opens a session; leaving the context ends it."""
        return _bridge(self._connect, Distant(self._url), self._limits, is_connection_closed)

    def _connect(self, on_end: Ending) -> Transport:
        return self._open_http()

    @asynccontextmanager
    async def _open_http(self) -> AsyncGenerator[Any]:
        headers = {} if self._read_token is None else {"Authorization": f"Bearer {self._read_token()}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=_TIMEOUT) as http_client,
            streamable_http_client(self._url, http_client=http_client) as streams,
        ):
            yield streams


class _Bridged:
    """What the supervisor sees of an MCP server: the near end of its bridge."""

    def __init__(self, stream: ByteStream, bridge: Bridge, peer: Peer) -> None:
        self.stream = stream
        self._bridge = bridge
        self._peer = peer

    @property
    def pid(self) -> int | None:
        return self._peer.pid

    async def ending(self) -> str:
        ending = await self._peer.ending() if self._peer.pid is not None else None
        fault = self._bridge.link.fault
        return ending or (await self._peer.ending() if fault is None else str(fault))

    def last_words(self) -> str:
        return self._peer.last_words()


@asynccontextmanager
async def _bridge(
    connect: Callable[[Ending], Transport], peer: Peer, limits: Limits, is_lost: Callable[[MCPError], bool]
) -> AsyncGenerator[Opened]:
    ours, theirs = memory_stream_pair()
    bridge = Bridge(theirs, connect, limits, is_lost)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bridge.run)
        yield _Bridged(ours, bridge, peer)
        nursery.cancel_scope.cancel()
