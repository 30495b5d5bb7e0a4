"""A component server that listens, dialled over TCP, TLS or a Unix socket."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import trio

from protocol.streams import ByteStream, open_tcp_stream, open_unix_stream
from protocol.tls import TlsFiles, make_client_context, open_tls_stream
from stepflow_runtime.connect.origin import Distant, Opened

DIAL_S: Final = 10.0


class SocketOrigin:
    """Where to dial.

    Args:
        url: `tcp://host:port`, `tls://host:port` or `unix:/path`.
        tls: For `tls://`: whom we trust, and who we are.

    Raises:
        ValueError: It is none of these, or TLS cannot use its files.
    """

    def __init__(self, url: str, tls: TlsFiles | None = None) -> None:
        self._url = url
        self._address = parse_url(url)
        self._context = make_client_context(tls or TlsFiles()) if is_tls(url) else None

    def open(self) -> AbstractAsyncContextManager[Opened]:
        """Dials once; leaving the context closes the socket.

        Raises:
            OSError: Nobody answers there.
        """
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[Opened]:
        stream = await self._dial()
        try:
            yield _Dialled(self._url, stream)
        finally:
            with trio.CancelScope(shield=True):
                await stream.aclose()

    async def _dial(self) -> ByteStream:
        try:
            with trio.fail_after(DIAL_S):
                if isinstance(self._address, str):
                    return await open_unix_stream(self._address)
                if self._context is not None:
                    return await open_tls_stream(*self._address, self._context)
                return await open_tcp_stream(*self._address)
        except trio.TooSlowError:
            raise TimeoutError(f"{self._url} did not answer within {DIAL_S:g} s") from None
        except OSError as error:
            raise ConnectionError(f"{self._url} cannot be reached: {error.strerror or error}") from error


class _Dialled(Distant):
    def __init__(self, url: str, stream: ByteStream) -> None:
        super().__init__(url)
        self.stream = stream


def is_tls(url: str) -> bool:
    """Whether TLS is spoken at an address."""
    return url.startswith("tls://")


def parse_url(url: str) -> str | tuple[str, int]:
    """Reads the address of a socket.

    Args:
        url: `tcp://host:port`, `tls://host:port`, `unix:/path` or `unix:///path`.

    Returns:
        Host and port, or the path of a Unix socket.

    Raises:
        ValueError: It cannot be read.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path:
        return parts.path
    if parts.scheme in ("tcp", "tls") and parts.hostname:
        try:
            port = parts.port
        except ValueError:
            port = None
        if port:
            return parts.hostname, port
    raise ValueError(f'The url "{url}" cannot be read; write "tcp://host:port", "tls://host:port" or "unix:/path".')
