"""A component server that listens: who may come in, and what those can do who may not."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import trio
import trio.testing

from component_sdk import ComponentServer
from component_sdk.listening import Listener
from component_sdk.serve import Session
from protocol import first_line
from protocol.streams import ByteStream
from tests.stepflow_runtime.connect.doors import knock, request

TOKEN: Final = "t" * 32
LIMITS: Final = {"maxFrameBytes": 1 << 20, "maxInFlight": 10, "maxBatch": 10, "maxRunDepth": 16}


def initialize(token: str | None = TOKEN) -> bytes:
    params: dict[str, Any] = {"runtime_protocol_version": 1, "limits": LIMITS, "capabilities": []}
    return request("initialize", **params, **({} if token is None else {"token": token}))


@asynccontextmanager
async def listen(token: str | None = TOKEN) -> AsyncGenerator[str]:
    """The address of a server with one component."""
    server = ComponentServer()

    @server.component
    def double(input: int) -> int:
        return input * 2

    backends = server._make_backends()

    async def serve(stream: ByteStream) -> None:
        session: Session = server._make_session(stream, backends, "the runtime", True, token)
        await session.run()

    async with trio.open_nursery() as nursery:
        yield await nursery.start(Listener("127.0.0.1:0", serve, token=token).run)
        nursery.cancel_scope.cancel()
    backends.close()


async def test_who_shows_the_token_is_served() -> None:
    async with listen() as address, knock(address) as peer:
        await peer.send(initialize())
        assert (await peer.receive())["result"]["server_protocol_version"] == 1
        answer = await peer.ask("components/list")
        assert answer["result"]["components"][0]["component"] == "/double"


@pytest.mark.parametrize(
    "first",
    [
        initialize(None),
        initialize("u" * 32),
        initialize(""),
        request("components/list", token=TOKEN),
        request("ping"),
        request("rpc.discover"),
        b"[" + initialize().strip() + b"]\n",
        b"{}" + b" " * first_line.MAX_BYTES + b"\n",
        b"x" * (2 * first_line.MAX_BYTES),
    ],
)
async def test_before_the_token_nothing_is_answered_and_little_is_read(first: bytes) -> None:
    async with listen() as address, knock(address) as peer:
        await peer.send(first)
        answer = await peer.receive()
        assert not answer or answer["error"]["code"] == -32002
        assert TOKEN not in json.dumps(answer)
        assert await peer.receive() == {}


async def test_who_says_nothing_is_shut_out_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_line, "TIMEOUT_S", 0.01)
    async with listen() as address, knock(address) as peer:
        await peer.send(initialize()[:-1])
        assert await peer.is_shut_out()


async def test_no_more_than_so_many_wait_to_be_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_line, "MAX_CONNECTING", 1)
    async with listen() as address, knock(address) as one:
        await trio.testing.wait_all_tasks_blocked()
        async with knock(address) as two:
            assert await two.receive() == {}
        await one.send(initialize())
        assert "result" in await one.receive()


async def test_where_no_token_is_asked_for_a_browser_is_no_runtime() -> None:
    async with listen(None) as address:
        async with knock(address) as peer:
            await peer.send(b"POST / HTTP/1.1\r\n\r\n")
            assert await peer.receive() == {}
        async with knock(address) as peer:
            await peer.send(initialize(None))
            assert "result" in await peer.receive()


async def test_a_defect_that_a_connection_meets_ends_it_alone(capfd: pytest.CaptureFixture[str]) -> None:
    async def serve(stream: ByteStream) -> None:
        assert await stream.receive_some() != b"bad\n"
        await stream.wait_send_all(b"{}\n")

    async with trio.open_nursery() as nursery:
        address: str = await nursery.start(Listener("127.0.0.1:0", serve).run)
        async with knock(address) as peer:
            await peer.send(b"bad\n")
            assert await peer.receive() == {}
        async with knock(address) as peer:
            await peer.send(b"good\n")
            assert await peer.receive() == {}
        nursery.cancel_scope.cancel()
    assert "A connection failed" in capfd.readouterr().err
