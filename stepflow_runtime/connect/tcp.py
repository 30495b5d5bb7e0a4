"""A component server that listens, dialled over TCP or a Unix socket."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import trio

from protocol.streams import ByteStream, SocketStream, open_tcp_stream, open_unix_stream
from stepflow_runtime.connect.origin import Distant, Opened

DIAL_S: Final = 10.0


class SocketOrigin:
    """Where to dial.

    Args:
        url: `tcp://host:port` or `unix:/path`.

    Raises:
        ValueError: It is neither.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._address = parse_url(url)

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

    async def _dial(self) -> SocketStream:
        try:
            with trio.fail_after(DIAL_S):
                if isinstance(self._address, str):
                    return await open_unix_stream(self._address)
                return await open_tcp_stream(*self._address)
        except trio.TooSlowError:
            raise TimeoutError(f"{self._url} did not answer within {DIAL_S:g} s") from None
        except OSError as error:
            raise ConnectionError(f"{self._url} cannot be reached: {error.strerror or error}") from error


class _Dialled(Distant):
    def __init__(self, url: str, stream: SocketStream) -> None:
        super().__init__(url)
        self.stream: ByteStream = stream


def parse_url(url: str) -> str | tuple[str, int]:
    """Reads the address of a socket.

    Args:
        url: `tcp://host:port`, `unix:/path` or `unix:///path`.

    Returns:
        Host and port, or the path of a Unix socket.

    Raises:
        ValueError: It cannot be read.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path:
        return parts.path
    if parts.scheme == "tcp" and parts.hostname:
        try:
            port = parts.port
        except ValueError:
            port = None
        if port:
            return parts.hostname, port
    raise ValueError(f'The url "{url}" cannot be read; write "tcp://host:port" or "unix:/path".')
