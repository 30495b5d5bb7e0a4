"""A listener with its tokens and certificates, and raw peers that knock."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio
import trustme

from protocol.dispatch import Dispatcher
from protocol.methods import Side
from protocol.tls import TlsFiles
from protocol.types import Limits
from stepflow_runtime.connect.introduction import Introduction
from stepflow_runtime.connect.links import RuntimeLinks
from stepflow_runtime.connect.listener import Listener
from stepflow_runtime.connect.tokens import TokenFile
from tests.stepflow_runtime.connect.connect_kit import PATIENCE_S, World, open_world

Json = dict[str, Any]

CLIENT: Final = "client-" + "c" * 32
READER: Final = "reader-" + "r" * 32
SERVER: Final = "server-" + "s" * 32
TOKENS: Final = f"""
# who may come in
{CLIENT}
{READER} role=read-only
{SERVER} role=server name=workers
"""


def write_tokens(folder: Path, text: str = TOKENS, mode: int = 0o600) -> Path:
    path = folder / "tokens"
    path.write_text(text)
    path.chmod(mode)
    return path


class Certificates:
    """An authority, and the files of both sides with certificates that it signed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        for name, identity in (("server", "127.0.0.1"), ("client", "client.example")):
            issued = authority.issue_cert(identity)
            issued.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
        self.server = TlsFiles(cert=folder / "server.pem")
        self.strict_server = TlsFiles(cert=folder / "server.pem", ca=self.ca)
        self.client = TlsFiles(ca=self.ca)
        self.known_client = TlsFiles(ca=self.ca, cert=folder / "client.pem")


class Peer:
    """A raw peer that dialled the runtime."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def receive(self) -> Json:
        """The next message; `{}` at the end of the connection."""
        with trio.fail_after(PATIENCE_S):
            while b"\n" not in self._buffer:
                try:
                    chunk = bytes(await self.stream.receive_some())
                except trio.BrokenResourceError:
                    chunk = b""
                if not chunk:
                    return {}
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: Json = json.loads(line)
        return message

    async def ask(self, method: str, **params: Any) -> Json:
        await self.send(request(method, **params))
        return await self.receive()

    async def is_shut_out(self) -> bool:
        """Whether the peer is told that it is not let in, and then the connection ends."""
        answer = await self.receive()
        return answer.get("error", {}).get("code") == -32002 and await self.receive() == {}


def request(method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"


def hello(token: str | None, **params: Any) -> bytes:
    return request("connect", protocolVersion=1, token=token, **params)


@asynccontextmanager
async def open_door(
    tokens: Path | None = None, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1:0", **options: Any
) -> AsyncGenerator[tuple[World, str]]:
    """A world that accepts servers under the name `workers`, and the address of its door."""

    async with open_world() as world, trio.open_nursery() as nursery:
        introduction = Introduction({"workers": world.plugin}, runtime_version="9", limits=Limits())
        links = RuntimeLinks(Dispatcher({"connect": introduction.connect}, side=Side.RUNTIME), Limits())
        token_file = None if tokens is None else TokenFile(tokens)
        listener = Listener(address, links, tokens=token_file, tls=tls, **options)
        yield world, await nursery.start(listener.run)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def knock(address: str) -> AsyncGenerator[Peer]:
    if address.startswith("unix:"):
        stream = await trio.open_unix_socket(address.removeprefix("unix:"))
    else:
        host, _, port = address.rpartition(":")
        stream = await trio.open_tcp_stream(host, int(port))
    async with stream:
        yield Peer(stream)
