"""The runtime's door: connections of clients and of component servers that dial in, over TCP or a Unix socket.

Each gets a link with the runtime's methods, once it has shown a token if one is asked for, and loses it when that token
is taken back. A connection whose first line is no JSON-RPC is closed without an answer. What other machines can reach
asks for a token, and over TLS.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
import traceback
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

import trio

from protocol import first_line
from protocol.log import Logger
from protocol.streams import ByteStream, adopt_socket_stream
from protocol.tls import TlsStream
from stepflow_runtime.connect.addresses import check_protection, parse_address
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.connect.door import admit
from stepflow_runtime.connect.links import RuntimeLinks
from stepflow_runtime.connect.tokens import TokenFile

log = Logger(__name__)

BACKLOG: Final = 128

TOKEN_CHECK_S: Final = 2.0
"""How often it is looked whether tokens were taken back."""


class Listener:
    """Accepts connections on one address.

    Args:
        address: `host:port`, where port 0 takes any that is free, or `unix:/path`.
        links: Makes the connections' links.
        tokens: Who may come in; `None` asks for no token.
        tls: Spoken by all who come over TCP; `None` for plain text.
        max_connecting: Connections that may be at the handshake of TLS or at their first line at once; what they can
            cost is bounded.

    Raises:
        ValueError: The address cannot be read, or other machines can reach it and tokens or TLS are missing.
    """

    def __init__(
        self,
        address: str,
        links: RuntimeLinks,
        *,
        tokens: TokenFile | None = None,
        tls: ssl.SSLContext | None = None,
        max_connecting: int = first_line.MAX_CONNECTING,
    ) -> None:
        check_protection(address, has_tokens=tokens is not None, has_tls=tls is not None)
        self._address = parse_address(address)
        self._links = links
        self._tokens = tokens
        self._tls = tls
        self._max_connecting = max_connecting
        self._connecting = 0
        self._inside: set[Connection] = set()

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until it is cancelled; `started` gives the address as it is bound.

        Raises:
            OSError: The address is in use, or not of this machine.

        Cancellation: closes the port and all connections, and removes the Unix socket.
        """
        if isinstance(self._address, str):
            with _bind_unix(self._address) as sock:
                await self._serve_on([trio.SocketListener(sock)], f"unix:{self._address}", task_status)
            return
        host, port = self._address
        listeners = await trio.open_tcp_listeners(port, host=host)
        port = listeners[-1].socket.getsockname()[1]
        await self._serve_on(listeners, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", task_status)

    async def _serve_on(
        self, listeners: list[trio.SocketListener], bound: str, task_status: trio.TaskStatus[str]
    ) -> None:
        async with trio.open_nursery() as nursery:
            if self._tokens is not None:
                nursery.start_soon(self._take_back, self._tokens)
            for listener in listeners:
                nursery.start_soon(partial(trio.serve_listeners, self._serve, [listener]))
            task_status.started(bound)

    async def _take_back(self, tokens: TokenFile) -> None:
        """Ends the connections of those whose tokens are gone."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(TOKEN_CHECK_S)
                for connection in self._inside:
                    if connection.grant is not None and not tokens.stands(connection.grant):
                        log.info("connection ended", peer=connection.name, reason="its token was taken back")
                        nursery.start_soon(connection.link.aclose)

    async def _serve(self, stream: trio.SocketStream) -> None:
        """One connection. A defect that it meets ends it alone."""
        connection = Connection(_name_peer(stream))
        try:
            opened = await self._let_in(stream, connection)
            if opened is not None:
                link = self._links.make(opened, connection, check_first_line=True)
                self._inside.add(connection)
                await link.run()
        except Exception:
            log.error("connection failed", peer=connection.name, traceback=traceback.format_exc())
            await trio.aclose_forcefully(stream)
        finally:
            self._inside.discard(connection)

    async def _let_in(self, stream: trio.SocketStream, connection: Connection) -> ByteStream | None:
        """The stream of a peer that may be served; `None` if it may not, or if too many are on their way in."""
        if self._connecting >= self._max_connecting:
            reason = f"{self._connecting} others have not introduced themselves yet (maxConnecting)"
            log.info("connection refused", peer=connection.name, reason=reason)
            await trio.aclose_forcefully(stream)
            return None
        self._connecting += 1
        try:
            return await self._open(stream, connection)
        finally:
            self._connecting -= 1

    async def _open(self, stream: trio.SocketStream, connection: Connection) -> ByteStream | None:
        """The stream of a peer that is let in, as what it is let in; `None` if it is not."""
        opened: ByteStream
        if self._tls is None or isinstance(self._address, str):
            opened = adopt_socket_stream(stream)
        else:
            opened = TlsStream(stream, self._tls)
            try:
                with trio.fail_after(first_line.TIMEOUT_S):
                    await opened.shake_hands()
            except (OSError, trio.TooSlowError) as error:
                log.info("connection refused", peer=connection.name, reason=str(error) or "TLS took too long")
                await trio.aclose_forcefully(stream)
                return None
        if self._tokens is None:
            return opened
        admitted = await admit(opened, self._tokens)
        if admitted is None:
            log.info("connection refused", peer=connection.name, reason="no valid token")
            return None
        connection.grant, opened = admitted
        connection.role = connection.grant.role
        return opened


def _name_peer(stream: trio.SocketStream) -> str:
    with suppress(OSError, ValueError):
        host, port = stream.socket.getpeername()[:2]
        return f"{host}:{port}"
    return "unix"


@contextmanager
def _bind_unix(path: str) -> Generator[trio.socket.SocketType]:
    """A listening Unix socket that only its owner can connect to; it is removed at the end.

    Raises:
        OSError: Somebody listens there, or something else is there.
    """
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX)
    try:
        umask = os.umask(0o177)  # so that there is no moment in which others could connect
        try:
            sock.bind(path)
        finally:
            os.umask(umask)
        sock.listen(BACKLOG)
        sock.setblocking(False)
        try:
            yield trio.socket.from_stdlib_socket(sock)
        finally:
            with suppress(OSError):
                os.unlink(path)
    finally:
        sock.close()


def _remove_stale(path: str) -> None:
    """Removes the socket of a runtime that is gone."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "there is a file that is no socket", path)
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as trial:
        trial.settimeout(1.0)
        try:
            trial.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), path)
