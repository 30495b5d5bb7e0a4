"""MCP over the stdin and stdout of a process: one message per line, as MCP's own streams.

The process is somebody else's: it is started, drained and stopped as every component server is, by `stdio`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import trio
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from protocol.errors import RemoteProtocolError
from protocol.framing import LineSplitter
from protocol.streams import ByteStream
from stepflow_runtime.connect.mcp.bridge import Ending


@asynccontextmanager
async def carry_lines(stream: ByteStream, on_end: Ending, max_frame_bytes: int) -> AsyncGenerator[Any]:
    """A transport for MCP's client over a stream of bytes, which stays its owner's.

    Args:
        stream: To the MCP server.
        on_end: Told when the server says no more; before MCP's client notices.
        max_frame_bytes: The longest message that is accepted.
    """
    to_client, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_server, from_client = anyio.create_memory_object_stream[SessionMessage](0)

    async def read() -> None:
        splitter = LineSplitter(max_frame_bytes)
        with to_client, suppress(trio.BrokenResourceError, trio.ClosedResourceError, anyio.BrokenResourceError):
            while splitter.fault is None and (chunk := await stream.receive_some()):
                for line in splitter.split(chunk):
                    await to_client.send(_read_message(line))
        on_end(splitter.fault or RemoteProtocolError("the MCP server closed its stdout"))

    async def write() -> None:
        with from_client, suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for message in from_client:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await stream.wait_send_all(text.encode() + b"\n")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(write)
        with from_server, to_server:
            yield from_server, to_server
        nursery.cancel_scope.cancel()


def _read_message(line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error
