"""The wire protocol on one side, MCP on the other: a tool is a component.

It answers what the runtime asks a component server; each execution is one `tools/call`. Knows nothing of processes and
addresses, which are `origin`'s. What ends one side ends the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import trio
from mcp import Client, MCPError
from mcp.client import Transport
from mcp_types import CONNECTION_CLOSED, INVALID_PARAMS, CallToolResult, TextContent, Tool
from msgspec import Raw

from protocol import methods
from protocol.dispatch import Dispatcher
from protocol.errors import ErrorCode, RemoteProtocolError, RpcError
from protocol.link import Link
from protocol.methods import PROTOCOL_VERSION, Side
from protocol.streams import ByteStream
from protocol.types import (
    ComponentInfo,
    ComponentInfoResult,
    ComponentListResult,
    ComponentParams,
    Empty,
    ExecuteParams,
    ExecuteResult,
    InitializeParams,
    InitializeResult,
    Limits,
)
from stepflow_runtime.model.json_value import is_object

CONTENT_SCHEMA: Final = {
    "type": "object",
    "properties": {"content": {"type": "array", "items": {"type": "object"}}},
    "required": ["content"],
}
"""Of the output of a tool that declares none: the content blocks of its result."""

MAX_MESSAGE_CHARS: Final = 4096

Ending = Callable[[Exception], None]
"""Told why the connection to the MCP server ended."""


class Bridge:
    """A component server whose components are the tools of an MCP server.

    Args:
        stream: To the runtime.
        connect: Makes the MCP connection; told whom to tell when that ends.
        limits: What is accepted from the runtime.
        is_lost: Whether an error that a call failed with means that the MCP server is gone.
    """

    def __init__(
        self,
        stream: ByteStream,
        connect: Callable[[Ending], Transport],
        limits: Limits,
        is_lost: Callable[[MCPError], bool],
    ) -> None:
        self.link = Link(stream, side=Side.SERVER, limits=limits, name="mcp", dispatcher=_DISPATCHER, context=self)
        self._connect = connect
        self._is_lost = is_lost
        self._ready = trio.Event()
        self._client: Client | None = None
        self._tools: dict[str, Tool] = {}

    async def run(self) -> None:
        """Serves until either side ends; `link.fault` says why, if the MCP server was the reason.

        Cancellation: ends the MCP connection.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self.link.run)
            try:
                await self._converse()
            except* Exception as group:
                self.link.give_up(RemoteProtocolError(f"the MCP server cannot be used: {_find_first(group)}"))

    async def _converse(self) -> None:
        async with Client(self._connect(self.link.give_up), cache=None) as client:
            self._tools = {tool.name: tool for tool in await _list_tools(client)}
            self._client = client
            self._ready.set()
            await self.link.wait_closed()

    async def list(self) -> list[ComponentInfo]:
        """The tools, when the MCP server has named them."""
        await self._ready.wait()
        return [_describe(tool) for tool in self._tools.values()]

    async def call(self, component: str, input: bytes) -> bytes:
        """Calls a tool.

        Args:
            component: Its name behind a `/`.
            input: Raw JSON; the arguments.

        Returns:
            Its structured result, or else `{"content": [...]}`.

        Raises:
            RpcError: There is no such tool, it does not take this, or it failed.

        Cancellation: the MCP server is told that nobody wants the result any more.
        """
        name = component.removeprefix("/")
        if self._client is None or name not in self._tools:
            known = ", ".join(sorted(self._tools)) or "none"
            raise RpcError(ErrorCode.METHOD_NOT_FOUND, f'The MCP server has no tool "{name}"; it has: {known}.')
        arguments: Any = msgspec.json.decode(input)
        if not is_object(arguments):
            raise RpcError(ErrorCode.INVALID_INPUT, f'The tool "{name}" takes an object; its fields are the arguments.')
        try:
            result = await self._client.call_tool(name, arguments)
        except MCPError as error:
            if self._is_lost(error):
                self.link.give_up(RemoteProtocolError(f"the MCP server is gone: {error.message}"))
                await trio.sleep_forever()  # the link ends, and this with it
            code = ErrorCode.INVALID_INPUT if error.code == INVALID_PARAMS else ErrorCode.COMPONENT_FAILED
            raise RpcError(code, error.message[:MAX_MESSAGE_CHARS], mcpCode=error.code) from None
        except (ValueError, RuntimeError) as error:  # what came is not what MCP, or the tool's own schema, allows
            message = f'The result of the tool "{name}" cannot be used: {error}'
            raise RpcError(ErrorCode.COMPONENT_FAILED, message[:MAX_MESSAGE_CHARS]) from None
        return _read_result(name, result)


async def _list_tools(client: Client) -> list[Tool]:
    page = await client.list_tools()
    tools = [*page.tools]
    while page.next_cursor is not None:
        page = await client.list_tools(cursor=page.next_cursor)
        tools += page.tools
    return tools


def _describe(tool: Tool) -> ComponentInfo:
    return ComponentInfo(
        f"/{tool.name}", tool.description or tool.title, tool.input_schema, tool.output_schema or CONTENT_SCHEMA
    )


def _read_result(name: str, result: CallToolResult) -> bytes:
    if result.is_error:
        texts = [block.text for block in result.content if isinstance(block, TextContent)]
        message = "\n".join(texts) or f'The tool "{name}" failed, and did not say why.'
        raise RpcError(ErrorCode.COMPONENT_FAILED, message[:MAX_MESSAGE_CHARS])
    if result.structured_content is not None:
        return msgspec.json.encode(result.structured_content)
    blocks = [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content]
    return msgspec.json.encode({"content": blocks})


def _find_first(error: BaseException) -> BaseException:
    match error:
        case BaseExceptionGroup(exceptions=[BaseException() as first, *_]):
            return _find_first(first)
        case _:
            return error


def is_connection_closed(error: MCPError) -> bool:
    """Whether a call over HTTP failed because the server, or the session that it kept for us, is gone."""
    return error.code == CONNECTION_CLOSED or error.message == "Session terminated"


# --- what the runtime asks -------------------------------------------------------------------------------------------


async def _initialize(params: InitializeParams, bridge: Bridge) -> InitializeResult:
    return InitializeResult(PROTOCOL_VERSION, ["cancel"])


async def _note_initialized(params: Empty, bridge: Bridge) -> None:
    """Nothing is asked of the runtime."""


async def _list(params: Empty, bridge: Bridge) -> ComponentListResult:
    return ComponentListResult(await bridge.list())


async def _info(params: ComponentParams, bridge: Bridge) -> ComponentInfoResult:
    for info in await bridge.list():
        if info.component == params.component:
            return ComponentInfoResult(info)
    raise RpcError(ErrorCode.METHOD_NOT_FOUND, f'The MCP server has no tool "{params.component}".')


async def _execute(params: ExecuteParams, bridge: Bridge) -> ExecuteResult:
    return ExecuteResult(Raw(await bridge.call(params.component, bytes(params.input))))


_HANDLERS: Final[dict[str, Any]] = {
    methods.INITIALIZE.name: _initialize,
    methods.INITIALIZED.name: _note_initialized,
    methods.LIST_COMPONENTS.name: _list,
    methods.COMPONENT_INFO.name: _info,
    methods.EXECUTE.name: _execute,
}
_DISPATCHER: Final = Dispatcher(_HANDLERS, side=Side.SERVER)
