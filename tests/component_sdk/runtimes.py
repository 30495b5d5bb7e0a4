"""Runtimes for tests of the SDK that speak as one does: joined to a server in memory, or listening for clients."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from component_sdk import Client, ComponentServer, open_client
from protocol import methods
from protocol.dispatch import Dispatcher, Handler
from protocol.errors import ErrorCode, RpcError
from protocol.link import Link
from protocol.methods import Side
from protocol.peer import Answer
from protocol.streams import ByteStream, adopt_socket_stream, memory_stream_pair
from protocol.types import (
    ConnectParams,
    ConnectResult,
    Empty,
    ExecuteParams,
    InitializeParams,
    InitializeResult,
    Limits,
    Observability,
)


class RuntimeSide:
    """The runtime's end of a connection with a component server."""

    def __init__(self, stream: ByteStream, handlers: Mapping[str, Handler]) -> None:
        self.posted: dict[Any, Answer] = {}
        self._arrived = trio.Event()
        self.link = Link(
            stream,
            side=Side.RUNTIME,
            dispatcher=Dispatcher(handlers, Side.RUNTIME),
            limits=Limits(),
            name="the server",
            on_answers=self._note_answers,
            peer_capabilities=("ping", "cancel"),
        )

    async def initialize(self, limits: Limits | None = None) -> InitializeResult:
        params = InitializeParams(1, limits or Limits(), ["ping", "cancel"])
        result: InitializeResult = await self.link.call(methods.INITIALIZE, params)
        self.link.notify(methods.INITIALIZED, Empty())
        return result

    async def execute(self, component: str, input: Any = None, **facts: Any) -> Any:
        """The output; or `no_action` if there was none."""
        result = await self.link.call(methods.EXECUTE, make_execution(component, input, **facts))
        return msgspec.json.decode(result.output) if result.output is not msgspec.UNSET else result.no_action

    def post(self, component: str, input: Any, token: Any) -> Any:
        return self.link.post(methods.EXECUTE, make_execution(component, input), token)

    async def wait_answers(self, count: int) -> None:
        while len(self.posted) < count:
            await self._arrived.wait()

    def _note_answers(self, answers: list[Answer]) -> None:
        self.posted.update((answer.token, answer) for answer in answers)
        self._arrived.set()
        self._arrived = trio.Event()


def make_execution(component: str, input: Any = None, attempt: int = 1, **facts: Any) -> ExecuteParams:
    raw = msgspec.Raw(msgspec.json.encode(input))
    return ExecuteParams(component, raw, attempt, Observability(**{"execution_id": "e-1", **facts}))


@asynccontextmanager
async def open_server(
    server: ComponentServer, handlers: Mapping[str, Handler] | None = None, *, is_initialized: bool = True
) -> AsyncGenerator[RuntimeSide]:
    """A component server on a connection in memory, and the runtime's end of it."""
    ours, theirs = memory_stream_pair()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            runtime = RuntimeSide(ours, handlers or {})
            nursery.start_soon(server.serve, theirs)
            await nursery.start(runtime.link.run)
            if is_initialized:
                await runtime.initialize()
            yield runtime
            await runtime.link.aclose()


class ScriptedRuntime:
    """A runtime that listens; its connections can be cut."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self.hellos: list[ConnectParams] = []
        self.links: list[Link] = []
        self.address = ""
        self._dispatcher = Dispatcher({"connect": self._connect, **handlers}, Side.RUNTIME)

    async def _connect(self, params: ConnectParams, context: object) -> ConnectResult:
        self.hellos.append(params)
        if params.token == "wrong":
            raise RpcError(ErrorCode.NOT_AUTHENTICATED, "That is not the token.")
        return ConnectResult(1, "0.1.0", Limits())

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.address = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        task_status.started()
        await trio.serve_listeners(self._accept, listeners)

    async def _accept(self, stream: trio.SocketStream) -> None:
        link = Link(
            adopt_socket_stream(stream),
            side=Side.RUNTIME,
            dispatcher=self._dispatcher,
            limits=Limits(),
            name="a client",
        )
        self.links.append(link)
        await link.run()

    async def cut(self) -> None:
        for link in self.links:
            await link.aclose()
        self.links.clear()


@asynccontextmanager
async def open_runtime(handlers: Mapping[str, Handler]) -> AsyncGenerator[ScriptedRuntime]:
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            runtime = ScriptedRuntime(handlers)
            await nursery.start(runtime.run)
            yield runtime
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_both(handlers: Mapping[str, Handler]) -> AsyncGenerator[tuple[Client, ScriptedRuntime]]:
    async with open_runtime(handlers) as runtime, open_client(runtime.address) as client:
        yield client, runtime
