"""A client that waits for a run and leaves: the run goes on, and nothing of the client's stays."""

from __future__ import annotations

import gc
import json
import socket
import struct
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from stepflow_runtime.app.config import Config, Listen, SqliteStorage, StdioConfig
from stepflow_runtime.app.opening import open_runtime
from stepflow_runtime.connect.routes import Route
from tests.conformance.wire import PATIENCE_S, make_flow
from tests.operations.test_drain import GATED

CLIENTS: Final = 40
WAITS_EACH: Final = 25

KINDS: Final = ("protocol.", "stepflow_runtime.connect.", "stepflow_runtime.store.watch")
"""Where what serves a connection, or a waiter, is defined."""


class Client:
    """Lines to the runtime and from it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._received = bytearray()

    async def send(self, id: int, method: str, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        await self.stream.send_all(json.dumps(message).encode() + b"\n")

    async def call(self, method: str, **params: Any) -> Any:
        await self.send(0, method, **params)
        while b"\n" not in self._received:
            received = await self.stream.receive_some()
            assert received
            self._received += received
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line)["result"]


@asynccontextmanager
async def serve(folder: Path) -> AsyncGenerator[tuple[str, int]]:
    """A runtime with a server whose component ends when there is a file `gate`; gives its address."""
    script = folder / "server.py"
    script.write_text(GATED)
    command = StdioConfig(command=sys.executable, args=(str(script),), cwd=folder, env={"FOLDER": str(folder)})
    config = Config(
        folder=folder,
        plugins={"python": command},
        routes=(Route("/python/{*component}", "python"),),
        storage=SqliteStorage(path=folder / "state.db"),
        listen=Listen(rpc="127.0.0.1:0"),
    )
    async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
        address: str = await nursery.start(runtime.serve_tcp)
        host, _, port = address.rpartition(":")
        yield host, int(port)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["in good order", "without a word"])
async def test_runs_go_on_when_who_waits_for_them_leaves_and_waiters_are_freed(tmp_path: Path, how: str) -> None:
    with trio.fail_after(PATIENCE_S):
        async with serve(tmp_path) as address, await trio.open_tcp_stream(*address) as stream:
            client = Client(stream)
            flow_id = (await client.call("blobs/put", data=make_flow("/python/gated"), blob_type="flow"))["blob_id"]
            run = await client.call("runs/submit", flowId=flow_id, inputs=[-1])
            await until(lambda: len(list(tmp_path.glob("begun-*"))) == 1)
            tasks, things, waiters = count_tasks(), count_things(), count_waiters()

            leaving = [Client(await trio.open_tcp_stream(*address)) for _ in range(CLIENTS)]
            for number, one in enumerate(leaving):
                await one.send(0, "runs/submit", flowId=flow_id, inputs=[number], wait=True)
                for wait in range(1, WAITS_EACH):
                    await one.send(wait, "runs/get", runId=run["runId"], wait=True)
            await until(lambda: len(list(tmp_path.glob("begun-*"))) == 1 + CLIENTS)
            await until(lambda: count_waiters() >= waiters + CLIENTS * WAITS_EACH)
            for one in leaving:
                if how == "without a word":  # a reset, as when its machine fails
                    one.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await one.stream.aclose()
            with trio.fail_after(PATIENCE_S / 4):
                await until(lambda: count_tasks() <= tasks and count_waiters() <= waiters)

            (tmp_path / "gate").touch()
            runs = (await client.call("runs/list", flowId=flow_id))["runs"]
            for one in runs:
                status = await client.call("runs/get", runId=one["runId"], wait=True)
                assert status["status"] == "success"
            assert len(runs) == 1 + CLIENTS
            await until(lambda: count_things() <= things)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - no event tells of what is waited for
        await trio.sleep(0.01)


def count_tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def count_waiters() -> int:
    gc.collect()
    return sum(1 for thing in gc.get_objects() if type(thing).__module__ == "stepflow_runtime.store.watch")


def count_things() -> Counter[str]:
    """How much there is of what serves connections and waiters."""
    gc.collect()
    kinds = (f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in gc.get_objects())
    return Counter(kind for kind in kinds if kind.startswith(KINDS))
