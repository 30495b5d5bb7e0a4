"""Links to a runtime: one that serves somewhere, or one that lives in this process as long as the command."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import trio

from protocol.errors import LinkClosed, RpcError
from protocol.link import Link
from protocol.methods import CONNECT, PROTOCOL_VERSION, Side
from protocol.streams import ByteStream, open_tcp_stream, open_unix_stream
from protocol.types import ConnectParams, ConnectResult, Limits
from stepflow_runtime.app.cli.boundary import CliError, ExitCode
from stepflow_runtime.app.config import Config, ConfigError
from stepflow_runtime.app.runtime import Runtime, open_runtime
from stepflow_runtime.connect.tcp import parse_url

DIAL_S: Final = 5.0
"""How long a runtime may take to accept, and to introduce itself."""

_CAPABILITIES: Final = frozenset({"cancel"})


@asynccontextmanager
async def open_link(url: str) -> AsyncGenerator[Link]:
    """Connects to a runtime that serves.

    Args:
        url: `host:port`, `tcp://host:port` or `unix:/path`.

    Raises:
        CliError: Nobody answers there, or it is no runtime of this protocol; exit code 3.
    """
    stream = await _dial(url)
    link = Link(
        stream, side=Side.SERVER, limits=Limits(), name=f"the runtime at {url}", peer_capabilities=_CAPABILITIES
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        await _introduce(link, url)
        yield link
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_local(config: Config) -> AsyncGenerator[tuple[Runtime, Link]]:
    """Opens a runtime in this process, and connects to it.

    Raises:
        ConfigError: The configuration cannot be carried out.
        StoreUnavailable: The state cannot be opened.
        StoreCorrupt: What is there is not a state that this version can use.
    """
    async with open_configured(config) as runtime, runtime.connect_local() as link:
        link.peer_capabilities = _CAPABILITIES
        yield runtime, link


@asynccontextmanager
async def open_configured(config: Config) -> AsyncGenerator[Runtime]:
    """As `open_runtime`, with a `ConfigError` for a configuration that cannot be carried out."""
    async with AsyncExitStack() as stack:
        try:
            runtime = await stack.enter_async_context(open_runtime(config))
        except ValueError as error:
            place = f"{config.source}: " if config.source else ""
            raise ConfigError(f"{place}{error}") from None
        yield runtime


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
