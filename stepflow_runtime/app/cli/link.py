"""A link to a runtime that serves somewhere; for one in this process, see `local`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import trio

from protocol.errors import LinkClosed, RpcError
from protocol.link import Link
from protocol.methods import CONNECT, PROTOCOL_VERSION, Side
from protocol.streams import ByteStream, open_tcp_stream, open_unix_stream
from protocol.types import ConnectParams, ConnectResult, Limits
from stepflow_runtime.app.cli.boundary import CliError, ExitCode
from stepflow_runtime.connect.tcp import parse_url

DIAL_S: Final = 5.0
"""How long a runtime may take to accept, and to introduce itself."""

CAPABILITIES: Final = frozenset({"cancel"})
"""What every runtime understands besides plain calls."""


@asynccontextmanager
async def open_link(url: str) -> AsyncGenerator[Link]:
    """Connects to a runtime that serves.

    Args:
        url: `host:port`, `tcp://host:port` or `unix:/path`.

    Raises:
        CliError: Nobody answers there, or it is no runtime of this protocol; exit code 3.
    """
    stream = await _dial(url)
    link = Link(stream, side=Side.SERVER, limits=Limits(), name=f"the runtime at {url}", peer_capabilities=CAPABILITIES)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        await _introduce(link, url)
        yield link
        nursery.cancel_scope.cancel()


async def _dial(url: str) -> ByteStream:
    try:
        address = parse_url(url if ":/" in url else f"tcp://{url}")
    except ValueError as error:
        raise CliError(f"--url: {error}") from None
    try:
        with trio.fail_after(DIAL_S):
            return await (open_unix_stream(address) if isinstance(address, str) else open_tcp_stream(*address))
    except (OSError, trio.TooSlowError):
        raise CliError(
            f"No runtime answers at {url}; start one with `stepflow serve`, or name another with --url.",
            ExitCode.CANNOT_CONNECT,
        ) from None


async def _introduce(link: Link, url: str) -> None:
    try:
        with trio.fail_after(DIAL_S):
            result: ConnectResult = await link.call(
                CONNECT, ConnectParams(PROTOCOL_VERSION, name="stepflow", role="client")
            )
    except (LinkClosed, RpcError, trio.TooSlowError) as error:
        detail = f": {error}" if str(error) else ""
        message = f"What answers at {url} is not a runtime that this program can talk to{detail}"
        raise CliError(message, ExitCode.CANNOT_CONNECT) from None
    link.peer_limits = result.limits
