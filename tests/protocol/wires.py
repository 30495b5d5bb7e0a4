"""Joined streams and joined links, for the tests of this folder."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from protocol.link import Link
from protocol.methods import Side
from protocol.streams import (
    ByteStream,
    FdStream,
    SocketStream,
    adopt_socket_stream,
    memory_stream_pair,
    open_tcp_stream,
)
from protocol.types import Limits

StreamPair = tuple[ByteStream, ByteStream]
OpenPair = Callable[[], Awaitable[StreamPair]]


async def open_memory_pair() -> StreamPair:
    return memory_stream_pair()


async def open_pipe_pair() -> StreamPair:
    left_reads, right_writes = os.pipe()
    right_reads, left_writes = os.pipe()
    return FdStream(left_reads, left_writes), FdStream(right_reads, right_writes)


async def open_unix_pair() -> StreamPair:
    left, right = socket.socketpair()
    return SocketStream(left), SocketStream(right)


async def open_tcp_pair() -> StreamPair:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        left = await open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        return left, adopt_socket_stream(await listener.accept())


PAIRS: list[OpenPair] = [open_memory_pair, open_pipe_pair, open_unix_pair, open_tcp_pair]


@asynccontextmanager
async def open_links(
    runtime: dict[str, Any] | None = None, server: dict[str, Any] | None = None, open_pair: OpenPair = open_memory_pair
) -> AsyncGenerator[tuple[Link, Link]]:
    """A link of the runtime and one of a server, joined and running; what is in it has five seconds."""
    left, right = await open_pair()
    options: dict[str, Any] = {"limits": Limits(), "peer_capabilities": ["cancel"]}
    links = (
        Link(left, **{"side": Side.RUNTIME, "name": "server", **options, **(runtime or {})}),
        Link(right, **{"side": Side.SERVER, "name": "runtime", **options, **(server or {})}),
    )
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for link in links:
                await nursery.start(link.run)
            yield links
            for link in links:
                await link.aclose()
