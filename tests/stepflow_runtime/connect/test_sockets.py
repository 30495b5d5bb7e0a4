from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from protocol.dispatch import Dispatcher
from protocol.methods import Side
from protocol.peer import Peer
from protocol.streams import adopt_socket_stream
from protocol.types import Limits
from stepflow_runtime.connect.addresses import parse_address
from stepflow_runtime.connect.introduction import Introduction
from stepflow_runtime.connect.links import RuntimeLinks
from stepflow_runtime.connect.listener import Listener
from stepflow_runtime.connect.tcp import SocketOrigin, parse_url
from tests.stepflow_runtime.connect.connect_kit import PATIENCE_S, FakeServer, Json, World, execution, open_world


class Client:
    """A raw peer that dialled the runtime."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, **message: Any) -> None:
        await self.stream.send_all(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def receive(self) -> Json:
        """The next message; `{}` at the end of the connection."""
        with trio.fail_after(PATIENCE_S):
            while b"\n" not in self._buffer:
                chunk = await self.stream.receive_some()
                if not chunk:
                    return {}
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: Json = json.loads(line)
        return message

    async def ask(self, method: str, **params: Any) -> Json:
        await self.send(id=1, method=method, params=params)
        return await self.receive()


@asynccontextmanager
async def open_runtime() -> AsyncGenerator[tuple[World, str]]:
    """A world that accepts servers under the name `workers`, and its address."""
    async with open_world() as world, trio.open_nursery() as nursery:
        introduction = Introduction({"workers": world.plugin}, runtime_version="9", limits=Limits())
        dispatcher = Dispatcher({"connect": introduction.connect}, side=Side.RUNTIME)
        listener = Listener("127.0.0.1:0", RuntimeLinks(dispatcher, Limits()))
        yield world, await nursery.start(listener.run)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def dial(address: str) -> AsyncGenerator[Client]:
    host, _, port = address.rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        yield Client(stream)


async def introduce(client: Client, **params: Any) -> Json:
    return await client.ask("connect", protocolVersion=1, **params)


async def test_a_client_may_introduce_itself() -> None:
    async with open_runtime() as (_, address), dial(address) as client:
        answer = await introduce(client, name="me")
        assert answer["result"]["runtimeVersion"] == "9"
        assert answer["result"]["limits"]["maxFrameBytes"] == 33554432


async def test_another_protocol_version_is_refused() -> None:
    async with open_runtime() as (_, address), dial(address) as client:
        answer = await client.ask("connect", protocolVersion=2)
        assert answer["error"]["code"] == -32006


async def test_a_server_that_dials_in_is_initialized_and_called() -> None:
    async with open_runtime() as (world, address), dial(address) as server:
        answer = await introduce(server, name="workers", role="server")
        assert "result" in answer, "the answer comes before initialize"
        asked = await server.receive()
        assert asked["method"] == "initialize"
        await server.send(id=asked["id"], result={"server_protocol_version": 1})
        assert (await server.receive())["method"] == "initialized"
        listing = await server.receive()
        await server.send(id=listing["id"], result={"components": [{"component": "/double"}]})
        one, lost = execution(), execution()
        world.call(one)
        call = await server.receive()
        assert call["params"]["component"] == "/double"
        await server.send(id=call["id"], result={"output": 2})
        assert await world.sink.wait_for(one) == [2]
        world.call(lost)
        await server.receive()
        await server.stream.aclose()
        (failure,) = await world.sink.wait_for(lost)
        assert failure.code == "UNREACHABLE"
        assert "closed the connection" in failure.message


async def test_a_server_under_an_unknown_name_is_refused_and_told_the_names() -> None:
    async with open_runtime() as (_, address):
        for name in ["strangers", None]:
            async with dial(address) as client:
                answer = await introduce(client, name=name, role="server")
                assert answer["error"]["code"] == -32602
                assert '"workers"' in answer["error"]["message"]


async def test_a_connection_becomes_a_server_once() -> None:
    async with open_runtime() as (_, address), dial(address) as server:
        await introduce(server, name="workers", role="server")
        await server.receive()
        answer = await introduce(server, name="workers", role="server")
        assert answer["error"]["code"] == -32014


async def test_a_defect_that_one_connection_meets_ends_that_one_alone(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    receive = Peer.receive_data

    def fail_once(*args: Any) -> Any:
        monkeypatch.setattr(Peer, "receive_data", receive)
        raise KeyError("a defect")

    async with open_runtime() as (_, address), dial(address) as unlucky, dial(address) as client:
        monkeypatch.setattr(Peer, "receive_data", fail_once)
        await unlucky.send(id=1, method="ping")
        assert await unlucky.receive() == {}
        assert "result" in await client.ask("ping")
    assert "connection failed" in "".join(capfd.readouterr())


async def test_a_browser_is_not_a_client() -> None:
    async with open_runtime() as (_, address), dial(address) as client:
        await client.stream.send_all(b'POST / HTTP/1.1\r\n\r\n{"jsonrpc":"2.0","id":1,"method":"connect"}\n')
        assert await client.receive() == {}


@pytest.mark.parametrize("address", ["7837", ":7837", "localhost:", "localhost:x", "127.0.0.1:65536"])
def test_an_address_that_cannot_be_read_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="cannot be read; write it like"):
        parse_address(address)


def test_loopback_addresses_are_read() -> None:
    assert parse_address("127.0.0.1:0") == ("127.0.0.1", 0)
    assert parse_address("[::1]:7837") == ("::1", 7837)
    assert parse_address("localhost:7837") == ("localhost", 7837)
    assert parse_address("unix:/a/b") == "/a/b"


# --- dialled servers -------------------------------------------------------------------------------------------------


class Listening:
    """Accepts the runtime, and makes a `FakeServer` of each connection."""

    def __init__(self) -> None:
        self.servers: list[FakeServer] = []
        self._accepted = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        server = FakeServer(adopt_socket_stream(stream))
        self.servers.append(server)
        self._accepted.set()
        self._accepted = trio.Event()
        try:
            await server.run()
        finally:
            with trio.CancelScope(shield=True):
                await server.close()

    async def wait_ready(self, number: int) -> FakeServer:
        with trio.fail_after(PATIENCE_S):
            while len(self.servers) < number:
                await self._accepted.wait()
            await self.servers[number - 1].ready.wait()
        return self.servers[number - 1]


async def test_a_server_that_listens_is_dialled_and_dialled_again() -> None:
    listening = Listening()
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(partial(trio.serve_listeners, listening.serve, [listener]))
        port = listener.socket.getsockname()[1]
        async with open_world(SocketOrigin(f"tcp://127.0.0.1:{port}")) as world:
            for number in (1, 2):
                server = await listening.wait_ready(number)
                one = execution()
                world.call(one)
                await server.answer_all(1)
                await world.sink.wait_for(one)
                await server.close()
        nursery.cancel_scope.cancel()


async def test_a_server_may_listen_on_a_unix_socket(tmp_path: Path) -> None:
    listening = Listening()
    path = tmp_path / "s"
    with trio.socket.socket(trio.socket.AF_UNIX) as sock:
        await sock.bind(str(path))
        sock.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, listening.serve, [trio.SocketListener(sock)]))
            async with open_world(SocketOrigin(f"unix:{path}")) as world:
                one = execution()
                world.call(one)
                await (await listening.wait_ready(1)).answer_all(1)
                await world.sink.wait_for(one)
            nursery.cancel_scope.cancel()


async def test_an_address_where_nobody_listens_is_named() -> None:
    async with open_world(SocketOrigin("unix:/nowhere/at/all"), unavailable_timeout_ms=100) as world:
        one = execution()
        world.call(one)
        (failure,) = await world.sink.wait_for(one)
        assert "unix:/nowhere/at/all cannot be reached: No such file or directory" in failure.message


@pytest.mark.parametrize("url", ["tcp://host", "http://host:1", "tcp://host:0", "tcp://host:99999", "unix:", "host:1"])
def test_a_url_that_cannot_be_read_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="cannot be read; write"):
        parse_url(url)


def test_urls_are_read() -> None:
    assert parse_url("tcp://host:80") == ("host", 80)
    assert parse_url("tcp://[::1]:80") == ("::1", 80)
    assert parse_url("unix:/a/b") == parse_url("unix:///a/b") == "/a/b"
