"""A link to a runtime that serves somewhere; for one in this process, see `local`."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from protocol.errors import ErrorCode, LinkClosed, RpcError
from protocol.link import Link
from protocol.methods import CONNECT, PROTOCOL_VERSION, Side
from protocol.streams import ByteStream, open_tcp_stream, open_unix_stream
from protocol.tls import make_client_context, open_tls_stream, read_environment
from protocol.types import ConnectParams, ConnectResult, Limits
from stepflow_runtime.app.cli.boundary import CliError, ExitCode
from stepflow_runtime.connect.secret_files import read_token
from stepflow_runtime.connect.tcp import is_tls, parse_url

DIAL_S: Final = 5.0
"""How long a runtime may take to accept, and to introduce itself."""

CAPABILITIES: Final = frozenset({"cancel"})
"""What every runtime understands besides plain calls."""


@asynccontextmanager
async def open_link(url: str) -> AsyncGenerator[Link]:
    """Connects to a runtime that serves.

    Args:
        url: `host:port`, `tcp://host:port`, `tls://host:port` or `unix:/path`. The token is in the file that
            STEPFLOW_TOKEN_FILE names; STEPFLOW_TLS_CA, _CERT and _KEY name the files of TLS; STEPFLOW_NAME says who
            submits runs.

    Raises:
        CliError: Nobody answers there, or it is no runtime of this protocol, or it does not let us in; exit code 3.
    """
    token = _find_token()
    stream = await _dial(url)
    link = Link(stream, side=Side.SERVER, limits=Limits(), name=f"the runtime at {url}", peer_capabilities=CAPABILITIES)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        await _introduce(link, url, token)
        yield link
        nursery.cancel_scope.cancel()


def _find_token() -> str | None:
    path = os.environ.get("STEPFLOW_TOKEN_FILE")
    try:
        return read_token(Path(path)) if path else None
    except ValueError as error:
        raise CliError(str(error)) from None


async def _dial(url: str) -> ByteStream:
    try:
        address = parse_url(url if ":/" in url else f"tcp://{url}")
        context = make_client_context(read_environment(os.environ)) if is_tls(url) else None
    except ValueError as error:
        raise CliError(f"--url: {error}") from None
    try:
        with trio.fail_after(DIAL_S):
            if isinstance(address, str):
                return await open_unix_stream(address)
            if context is not None:
                return await open_tls_stream(*address, context)
            return await open_tcp_stream(*address)
    except ConnectionError as error:
        if context is not None and not error.errno:
            raise CliError(f"{url} is not trusted: {error}.", ExitCode.CANNOT_CONNECT) from None
        raise _nobody(url) from None
    except (OSError, trio.TooSlowError):
        raise _nobody(url) from None


def _nobody(url: str) -> CliError:
    message = f"No runtime answers at {url}; start one with `stepflow serve`, or name another with --url."
    return CliError(message, ExitCode.CANNOT_CONNECT)


async def _introduce(link: Link, url: str, token: str | None) -> None:
    try:
        name = os.environ.get("STEPFLOW_NAME") or "stepflow"
        with trio.fail_after(DIAL_S):
            result: ConnectResult = await link.call(
                CONNECT, ConnectParams(PROTOCOL_VERSION, token, name, role="client")
            )
    except (LinkClosed, RpcError, trio.TooSlowError) as error:
        if isinstance(error, RpcError) and error.code == ErrorCode.NOT_AUTHENTICATED:
            message = f"{url}: {error.message} STEPFLOW_TOKEN_FILE names the file that the token is read from."
            raise CliError(message, ExitCode.CANNOT_CONNECT) from None
        detail = f": {error}" if str(error) else ""
        message = f"What answers at {url} is not a runtime that this program can talk to{detail}"
        raise CliError(message, ExitCode.CANNOT_CONNECT) from None
    link.peer_limits = result.limits
