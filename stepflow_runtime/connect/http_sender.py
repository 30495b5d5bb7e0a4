"""Sends webhook deliveries over HTTP, and only where they may go. Implements `ports.Sender`.

Each delivery has a connection of its own: its host is resolved anew, all its addresses are judged, and the connection
is made to an address that was judged; TLS still checks the certificate against the host's name. Redirects are failures,
and of an answer only the status is read.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import trio

from stepflow_runtime.connect.destinations import Network, may_reach
from stepflow_runtime.ports import SendFailed

if TYPE_CHECKING:
    from httpcore import AsyncNetworkStream

MAX_URL: Final = 2048
PORTS: Final = {"https": 443, "http": 80}

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, as text."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """Asks the system."""
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class HttpSender:
    """Posts deliveries.

    Args:
        timeout_s: Of a delivery, from resolving to the status.
        schemes: `https`, and `http` if that is wanted.
        allowed: Private networks that may be reached.
        resolve: Finds the addresses of a host.
        tls: Who is trusted; the system's authorities by default.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        schemes: Collection[str],
        allowed: Sequence[Network],
        resolve: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._schemes = schemes
        self._allowed = allowed
        self._resolve = resolve
        self._tls = tls

    def check_url(self, url: str) -> None:
        parts = urlsplit(url)  # a ValueError of its own says what is wrong
        if parts.scheme not in self._schemes:
            raise ValueError(f"its scheme must be {' or '.join(sorted(self._schemes))} (webhooks.schemes)")
        if not parts.hostname or not url.isascii() or not url.isprintable() or len(url) > MAX_URL:
            raise ValueError(f"it must name a host, in plain ASCII and at most {MAX_URL} characters")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise ValueError("it must have neither a user, nor a password, nor a fragment")
        if parts.port == 0:
            raise ValueError("port 0 is none")
        try:
            is_reachable = may_reach(parts.hostname, self._allowed)
        except ValueError:  # a name: its addresses are judged when it is sent to
            return
        if not is_reachable:
            raise ValueError(_refusal(parts.hostname))

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        import httpcore

        try:
            self.check_url(url)
            with trio.fail_after(self._timeout_s):
                status = await self._post(url, headers, body)
        except trio.TooSlowError:
            raise SendFailed(f"no answer came within {self._timeout_s:g} s (webhooks.timeoutMs)") from None
        except (ValueError, OSError, httpcore.NetworkError, httpcore.ProtocolError, trio.BrokenResourceError) as error:
            raise SendFailed(f"it could not be sent: {_explain(error)}") from error
        if not 200 <= status < 300:
            hint = "; redirects are not followed" if 300 <= status < 400 else ""
            raise SendFailed(f"the receiver answered {status}{hint}", status)

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        import httpcore

        target = httpcore.URL(url)
        connection = httpcore.AsyncHTTPConnection(
            target.origin, ssl_context=self._find_tls(), network_backend=_make_backend(self._find_addresses)
        )
        try:
            sent = {"host": urlsplit(url).netloc, "user-agent": "stepflow-runtime", **headers}
            request = httpcore.Request("POST", target, headers=list(sent.items()), content=body)
            request.headers.append((b"content-length", b"%d" % len(body)))
            answer = await connection.handle_async_request(request)
            await answer.aclose()
            return answer.status
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                await connection.aclose()

    def _find_tls(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    async def _find_addresses(self, host: str, port: int) -> Sequence[str]:
        """Where to connect to. All addresses of a host are judged, as any of them may be the one next time."""
        addresses = await self._resolve(host, port)
        if not addresses:
            raise OSError(f"{host} has no address")
        for address in addresses:
            if not may_reach(address, self._allowed):
                raise OSError(_refusal(host if host == address else f"{host} ({address})"))
        return addresses


def _refusal(place: str) -> str:
    return f"{place} is not on the public internet; a receiver elsewhere is allowed by webhooks.allow"


def _explain(error: BaseException) -> str:
    """What an error says; some only say it in their cause."""
    while not str(error) and error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


def _make_backend(find_addresses: Resolve) -> Any:
    """A network for httpcore which connects only to addresses that were judged. httpcore is imported when the first
    delivery is sent, as most runtimes never send one."""
    from httpcore import AsyncNetworkBackend, ConnectError, TrioBackend

    class PinnedBackend(AsyncNetworkBackend):
        async def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,
            local_address: str | None = None,
            socket_options: Iterable[Any] | None = None,
        ) -> AsyncNetworkStream:
            *others, last = await find_addresses(host, port)
            for address in others:
                with suppress(ConnectError):
                    return await TrioBackend().connect_tcp(address, port, timeout, local_address)
            return await TrioBackend().connect_tcp(last, port, timeout, local_address)

    return PinnedBackend()
