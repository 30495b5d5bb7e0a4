"""A component server that listens: runtimes dial it, and show a token first if one is asked for (PROTOCOL §1).

Until a peer has shown it, it costs little and reaches nothing; what goes wrong with one connection ends that one alone.
What is said over a connection is the business of `serve`, and the command line that of `server`.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Awaitable, Callable

import trio
from msgspec import UNSET

from component_sdk.address import check_protection, split_address
from component_sdk.serve import check_token
from protocol import first_line
from protocol.methods import INITIALIZE
from protocol.streams import ByteStream, adopt_socket_stream
from protocol.tls import TlsFiles, TlsStream, make_server_context
from protocol.types import InitializeParams


class Listener:
    """Accepts connections on one address.

    Args:
        address: `host:port`; port 0 takes any that is free.
        serve: Serves one connection until it ends.
        token: What a runtime has to show; `None` asks for nothing.
        tls: Our certificate; `None` for plain text.

    Raises:
        SdkError: Other machines can reach the address, and the token or the certificate is missing.
    """

    def __init__(
        self,
        address: str,
        serve: Callable[[ByteStream], Awaitable[None]],
        *,
        token: str | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self._host, self._port = split_address(address)
        check_protection(address, self._host, token=token, certificate=None if tls is None else tls.cert)
        self._serve = serve
        self._token = token
        self._tls = None if tls is None else make_server_context(tls)
        self._connecting = 0

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until it is cancelled; `started` gives the address as it is bound.

        Raises:
            OSError: The address is in use, or not of this machine.
        """
        listeners = await trio.open_tcp_listeners(self._port, host=self._host)
        host, port = listeners[0].socket.getsockname()[:2]
        task_status.started(f"{host}:{port}")
        await trio.serve_listeners(self._accept, listeners)

    async def _accept(self, tcp: trio.SocketStream) -> None:
        try:
            stream = await self._let_in(tcp)
            if stream is not None:
                await self._attend(stream)
        except Exception:
            print(f"A connection failed.\n{traceback.format_exc()}", file=sys.stderr, flush=True)

    async def _attend(self, stream: ByteStream) -> None:
        try:
            await self._serve(stream)
        finally:
            with trio.CancelScope(shield=True):
                await stream.aclose()

    async def _let_in(self, tcp: trio.SocketStream) -> ByteStream | None:
        """The stream of a peer that may be served; `None` if it may not."""
        if self._connecting >= first_line.MAX_CONNECTING:
            await trio.aclose_forcefully(tcp)
            return None
        self._connecting += 1
        try:
            stream = await self._open(tcp)
        except OSError as error:
            print(f"A connection was refused: {error}.", file=sys.stderr, flush=True)
            await trio.aclose_forcefully(tcp)
            return None
        finally:
            self._connecting -= 1
        return stream

    async def _open(self, tcp: trio.SocketStream) -> ByteStream | None:
        stream = adopt_socket_stream(tcp) if self._tls is None else await _shake_hands(TlsStream(tcp, self._tls))
        if self._token is None:
            return stream
        admitted = await first_line.admit(stream, INITIALIZE, self._judge)
        return None if admitted is None else admitted[1]

    def _judge(self, params: InitializeParams | None) -> None:
        assert self._token is not None
        check_token(UNSET if params is None else params.token, self._token)


async def _shake_hands(stream: TlsStream) -> ByteStream:
    with trio.move_on_after(first_line.TIMEOUT_S) as waiting:
        await stream.shake_hands()
    if waiting.cancelled_caught:
        raise TimeoutError(f"no TLS connection came about within {first_line.TIMEOUT_S:g} s")
    return stream
