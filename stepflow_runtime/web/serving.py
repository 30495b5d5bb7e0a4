"""The HTTP side on its address: hypercorn around the guarded application."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Collection
from functools import partial
from typing import Final

import trio
from hypercorn.config import Config
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType]

from protocol.exposure import is_loopback
from protocol.tls import TlsFiles
from stepflow_runtime.connect.addresses import parse_address
from stepflow_runtime.connect.links import RuntimeLinks
from stepflow_runtime.web.app import Surroundings, make_app
from stepflow_runtime.web.gateway import open_gateway
from stepflow_runtime.web.guard import Guard
from stepflow_runtime.web.sessions import Sessions

log = logging.getLogger("stepflow_runtime.web")
log.setLevel(logging.WARNING)  # hypercorn tells where it listens, as we do ourselves

SHUTDOWN_S: Final = 1.0
"""How long answers under way may take when the runtime stops."""


class WebServer:
    """Serves HTTP on one address.

    Args:
        address: `host:port`; port 0 takes any that is free.
        links: The runtime's methods.
        around: What it tells besides.
        tls: As for the wire protocol.
        hosts: Names under which it is reached besides its address, with the port where one is written.

    Raises:
        ValueError: The address cannot be read.
    """

    def __init__(
        self,
        address: str,
        links: RuntimeLinks,
        around: Surroundings,
        *,
        tls: TlsFiles | None = None,
        hosts: Collection[str] = (),
    ) -> None:
        parsed = parse_address(address)
        if isinstance(parsed, str):
            raise ValueError(f'HTTP is served on host:port, not on "{address}".')
        self._host, self._port = parsed
        self._links = links
        self._tls = tls
        self._hosts = hosts
        self._around = around

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until it is cancelled; `started` gives the address as it is bound, with its scheme.

        Raises:
            OSError: The address is in use, or not of this machine.
        """
        sock = _bind(self._host, self._port)
        port = sock.getsockname()[1]
        scheme = "http" if self._tls is None else "https"
        config = self._configure(sock.detach())  # hypercorn closes it
        async with open_gateway(self._links) as gateway:
            sessions = Sessions(secure=self._tls is not None)
            guard = Guard(
                make_app(gateway, self._around, sessions),
                hosts=_name_hosts(self._host, port, self._hosts),
                scheme=scheme,
                tokens=self._around.tokens,
                sessions=sessions,
                max_body_bytes=self._links.limits.max_frame_bytes,
            )
            async with trio.open_nursery() as nursery:
                await nursery.start(partial(serve, guard, config, mode="asgi"))  # type: ignore[arg-type]
                task_status.started(f"{scheme}://{_write_host(self._host)}:{port}")

    def _configure(self, fd: int) -> Config:
        config = Config()
        config.bind = [f"fd://{fd}"]
        config.accesslog = None
        config.errorlog = log
        config.include_server_header = False
        config.graceful_timeout = SHUTDOWN_S
        if self._tls is not None:
            config.certfile, config.keyfile = str(self._tls.cert), str(self._tls.key or self._tls.cert)
            if self._tls.ca is not None:
                config.ca_certs, config.verify_mode = str(self._tls.ca), ssl.CERT_REQUIRED
        return config


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.set_inheritable(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _name_hosts(host: str, port: int, more: Collection[str]) -> list[str]:
    names = {host, "localhost", "127.0.0.1", "::1"} if is_loopback(host) else {host}
    return [f"{_write_host(name)}:{port}" for name in names] + [name.lower() for name in more]


def _write_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
