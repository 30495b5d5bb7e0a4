"""How MCP servers are made when a configuration names some: only then is the extra `mcp` needed, and imported."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from protocol.types import Limits
from stepflow_runtime.connect.origin import Origin
from stepflow_runtime.connect.secret_files import read_token

MISSING: Final = 'A plugin of the type mcp needs the extra "mcp": pip install "stepflow-runtime[mcp]".'


def make_mcp_process(process: Origin, limits: Limits) -> Origin:
    """An MCP server on stdio.

    Raises:
        ValueError: The extra is not installed.
    """
    try:
        from stepflow_runtime.connect.mcp.origin import McpProcess
    except ImportError:
        raise ValueError(MISSING) from None
    return McpProcess(process, limits)


def make_mcp_address(url: str, token_file: Path | None, limits: Limits) -> Origin:
    """An MCP server over HTTP.

    Raises:
        ValueError: The extra is not installed.
    """
    try:
        from stepflow_runtime.connect.mcp.origin import McpAddress
    except ImportError:
        raise ValueError(MISSING) from None
    return McpAddress(url, limits, None if token_file is None else partial(read_token, token_file))
