"""What the tests of this folder share: executions, a sink that notes, and component servers in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import trio
import trio.testing

from protocol.dispatch import Dispatcher
from protocol.methods import Side
from protocol.peer import MAX_QUEUED_BYTES
from protocol.streams import ByteStream, memory_stream_pair
from protocol.types import Limits
from stepflow_runtime.connect.answers import AnswerQueue
from stepflow_runtime.connect.connection import Connections
from stepflow_runtime.connect.keeper import Backoff
from stepflow_runtime.connect.links import RuntimeLinks
from stepflow_runtime.connect.router import ComponentRouter
from stepflow_runtime.connect.routes import Routes, parse_route
from stepflow_runtime.connect.supervisor import ServerPlugin
from stepflow_runtime.model.ids import BlobId, ExecutionId, RunId
from stepflow_runtime.model.outcome import Answer
from stepflow_runtime.ports import Answered, Execution

_numbers = count(1)

Json = dict[str, Any]

PATIENCE_S = 60.0
"""No test waits longer for anything."""


def execution(
    component: str = "/python/double", input: str = "1", *, root: str = "root-1", alone: bool = False, **fields: Any
) -> Execution:
    """A new execution, of an item of its own."""
    number = next(_numbers)
    return Execution(
        owner=None,
        execution_id=ExecutionId(f"x{number}"),
        run_id=RunId(fields.pop("run", root)),
        root_run_id=RunId(root),
        flow_id=BlobId("blake3:00"),
        item_index=fields.pop("item", number),
        step_id=fields.pop("step", "s"),
        component=component,
        attempt=1,
        input=input.encode(),
        alone=alone,
        **fields,
    )


class NotingSink:
    """An engine that only notes what it is told.

    Attributes:
        live: How many items are under way in every run, it says.
    """

    def __init__(self) -> None:
        self.live = 0
        self.answers: dict[Execution, Answer] = {}
        self.order: list[Execution] = []
        self.dispatches: list[Execution] = []
        self.turns = 0
        self._changed = trio.Event()

    def dispatched(self, execution: Execution) -> None:
        self.dispatches.append(execution)

    def has_others(self, execution: Execution, count: int) -> bool:
        return self.live > count

    def answered(self, answers: Iterable[Answered]) -> None:
        for execution, outcome in answers:
            assert execution not in self.answers, "answered twice"
            self.answers[execution] = outcome
            self.order.append(execution)

    def end_turn(self) -> None:
        self.turns += 1
        self._changed.set()
        self._changed = trio.Event()

    async def wait_for(self, *executions: Execution) -> list[Any]:
        """Waits until all of them are answered; returns outcomes, outputs decoded."""
        with trio.fail_after(PATIENCE_S):
            while not all(one in self.answers for one in executions):
                await self._changed.wait()
        outcomes = [self.answers[one] for one in executions]
        return [json.loads(outcome) if isinstance(outcome, bytes) else outcome for outcome in outcomes]


class FakeServer:
    """A component server at the other end of a memory stream. It answers by hand: `take`, then `answer`."""

    def __init__(self, stream: ByteStream, *, batch: Json | None = None, **initialize_result: Any) -> None:
        self._stream = stream
        self._listing = [{"component": "/double", "description": "Twice as much.", "batch": batch}]
        self._initialize_result = {"server_protocol_version": 1, **initialize_result}
        self.ready = trio.Event()
        self.executes: list[Json] = []
        self.others: list[Json] = []
        self._changed = trio.Event()

    async def run(self) -> None:
        """Receives until either side closes."""
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            await self._run()

    async def _run(self) -> None:
        buffer = b""
        while chunk := await self._stream.receive_some():
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                await self._receive(json.loads(line))
            self._changed.set()
            self._changed = trio.Event()

    async def _receive(self, message: Json) -> None:
        match message.get("method"):
            case "initialize":
                await self.send(id=message["id"], result=self._initialize_result)
            case "components/list":
                await self.send(id=message["id"], result={"components": self._listing})
                self.ready.set()
            case "components/execute" | "components/execute_batch":
                self.executes.append(message)
            case _:
                self.others.append(message)

    async def send(self, **message: Any) -> None:
        await self._stream.wait_send_all(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def take(self, number: int = 1) -> list[Json]:
        """The params of the next so many executes, in order."""
        return [message["params"] for message in await self.take_messages(number)]

    async def take_messages(self, number: int = 1) -> list[Json]:
        with trio.fail_after(PATIENCE_S):
            while len(self.executes) < number:
                await self._changed.wait()
        taken, self.executes = self.executes[:number], self.executes[number:]
        return taken

    async def take_other(self, method: str) -> Json:
        with trio.fail_after(PATIENCE_S):
            while True:
                for message in self.others:
                    if message.get("method") == method:
                        self.others.remove(message)
                        return message
                await self._changed.wait()

    async def answer_all(self, number: int) -> list[Json]:
        """Takes and answers so many executes, one after the other."""
        answered: list[Json] = []
        for _ in range(number):
            (message,) = await self.take_messages()
            answered.append(message["params"])
            await self.send(id=message["id"], result={"output": message["params"]["input"]})
        return answered

    async def close(self) -> None:
        await self._stream.aclose()


class MemoryOrigin:
    """Servers in memory: each opening makes a new one, which the test gets from `servers`.

    Args:
        batch: What they say of batches for their component.
        **initialize_result: What they answer.
    """

    def __init__(self, *, batch: Json | None = None, **initialize_result: Any) -> None:
        self.servers: list[FakeServer] = []
        self.batch = batch
        self.initialize_result = initialize_result
        self._opened = trio.Event()

    async def wait_opened(self, number: int) -> FakeServer:
        """The server of the so-manyth opening."""
        while len(self.servers) < number:
            await self._opened.wait()
        return self.servers[number - 1]

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[OpenedInMemory]:
        ours, theirs = memory_stream_pair(1 << 26)
        server = FakeServer(theirs, batch=self.batch, **self.initialize_result)
        self.servers.append(server)
        self._opened.set()
        self._opened = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            yield OpenedInMemory(ours)
            nursery.cancel_scope.cancel()


class OpenedInMemory:
    pid = None

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream

    async def ending(self) -> str:
        return "the memory ended"

    def last_words(self) -> str:
        return "oh\nno"


class World:
    """A router with one plugin, `python`, and all that it needs."""

    def __init__(self, origins: list[Any], **options: Any) -> None:
        self.sink = NotingSink()
        self.answers = AnswerQueue()
        self.answers.report_to(self.sink)
        self.connections = Connections()
        limits = options.pop("limits", Limits())
        max_queued_bytes = options.pop("max_queued_bytes", MAX_QUEUED_BYTES)
        self.plugin = ServerPlugin(
            "python",
            origins,
            answers=self.answers,
            connections=self.connections,
            links=RuntimeLinks(
                options.pop("dispatcher", None) or Dispatcher({}, side=Side.RUNTIME),
                limits,
                max_queued_bytes=max_queued_bytes,
            ),
            jitter=lambda: 1.0,
            backoff=options.pop("backoff", Backoff(first_s=0.001, max_s=0.001)),
            **options,
        )
        self.router = ComponentRouter(Routes([parse_route("/python", "python")]), {"python": self.plugin}, self.answers)

    def call(self, *executions: Execution) -> None:
        """One turn of the engine."""
        for one in executions:
            self.router.call(one)
        self.router.flush()


@asynccontextmanager
async def open_world(*origins: Any, **options: Any) -> AsyncGenerator[World]:
    """A running world; servers in memory are ready."""
    world = World(list(origins), **options)
    async with trio.open_nursery() as nursery:
        await nursery.start(world.router.run)
        for origin in origins:
            if isinstance(origin, MemoryOrigin):
                await wait_until_ready(origin)
        yield world
        nursery.cancel_scope.cancel()


async def wait_until_ready(origin: MemoryOrigin, number: int = 1) -> FakeServer:
    """The server of the so-manyth opening, initialized, and added to its pool."""
    with trio.fail_after(PATIENCE_S):
        server = await origin.wait_opened(number)
        await server.ready.wait()
    await trio.testing.wait_all_tasks_blocked()
    return server
