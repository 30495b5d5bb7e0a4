"""The runtime's door: TCP connections of clients and of component servers that dial in.

Each gets a link with the runtime's methods. A connection whose first line is no JSON-RPC is closed without an answer.
"""

from __future__ import annotations

import ipaddress
from functools import partial

import trio

from protocol.streams import adopt_socket_stream
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.connect.links import RuntimeLinks


class Listener:
    """Accepts connections on one address.

    Args:
        address: `host:port`; port 0 takes any that is free. Only loopback: there is neither token nor TLS.
        links: Makes the connections' links.

    Raises:
        ValueError: The address cannot be read, or is not loopback.
    """

    def __init__(self, address: str, links: RuntimeLinks) -> None:
        self._host, self._port = parse_address(address)
        self._links = links

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until it is cancelled; `started` gives the address as it is bound.

        Raises:
            OSError: The address is in use, or not of this machine.

        Cancellation: closes the port and all connections.
        """
        listeners = await trio.open_tcp_listeners(self._port, host=self._host)
        async with trio.open_nursery() as nursery:
            port = self._port
            for listener in listeners:
                port = listener.socket.getsockname()[1]
                nursery.start_soon(partial(trio.serve_listeners, self._serve, [listener]))
            host = f"[{self._host}]" if ":" in self._host else self._host
            task_status.started(f"{host}:{port}")

    async def _serve(self, stream: trio.SocketStream) -> None:
        host, port = stream.socket.getpeername()[:2]
        connection = Connection(f"{host}:{port}")
        await self._links.make(adopt_socket_stream(stream), connection, check_first_line=True).run()


def parse_address(address: str) -> tuple[str, int]:
    """Reads `host:port`, with IPv6 hosts in brackets.

    Raises:
        ValueError: It cannot be read, or would let other machines in.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f'The address "{address}" cannot be read; write it like "127.0.0.1:7837".')
    if not _is_loopback(host):
        raise ValueError(
            f'"{address}" can be reached from other machines, and this runtime asks for no token; '
            "listen on 127.0.0.1 and let other machines in through a tunnel."
        )
    return host, int(port)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
