"""An MCP server as its author would write it; the tests start it: over stdio, or with a port over HTTP."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("trial", log_level="ERROR")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool(structured_output=False)
def greet(name: str) -> str:
    """Greets somebody."""
    return f"Hello {name}"


@server.tool()
def refuse(why: str) -> str:
    """Fails."""
    raise ToolError(why)


@server.tool()
def die(marker: str) -> int:
    """Ends the process, the first time."""
    if not Path(marker).exists():
        Path(marker).touch()
        print("about to die", file=sys.stderr, flush=True)
        os._exit(3)
    return os.getpid()


def leave(marker: str) -> None:
    Path(marker).touch()


@server.tool()
async def linger(marker: str) -> int:
    """Never ends by itself, and leaves a mark when it is cancelled."""
    try:
        await anyio.sleep_forever()
    finally:
        leave(marker)
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run()
