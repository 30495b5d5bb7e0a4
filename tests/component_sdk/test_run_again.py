"""Restarts and time travel through handles on runs, trio and blocking, with a runtime that serves."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from component_sdk import RunNotFoundError, connect, open_client
from protocol.errors import ErrorCode, RpcError
from tests.conformance.wire import ServedRuntime, serve

SERVER: Final = str(Path(__file__).with_name("run_server.py"))
PATIENCE_S: Final = 20
FLOW: Final[dict[str, Any]] = {
    "steps": [
        {"id": "double", "component": "/some/double", "input": {"$input": "$"}},
        {"id": "ask", "component": "/some/ask", "input": {"$step": "double"}},
    ],
    "output": {"$step": "ask"},
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    plugin = {"type": "stepflow", "transport": "stdio", "command": sys.executable, "args": [SERVER]}
    config = {"plugins": {"some": plugin}, "routes": {"/some": [{"plugin": "some"}]}}
    runtime: ServedRuntime
    with serve(tmp_path_factory.mktemp("again"), config) as runtime:
        host, port = runtime.address
        yield f"{host}:{port}"


async def test_a_run_is_travelled_and_its_fork_is_followed(address: str) -> None:
    with trio.fail_after(PATIENCE_S):
        async with open_client(address) as client:
            run = await client.start(FLOW, [1])
            await run.wait(wait_for="settled")
            fork = await run.time_travel("ask", resume_data={"yes": 2}, item_indexes=[0], wait=True)
            assert fork.last_seen.forked_from == run.id
            assert await fork.return_value() == {"yes": 2}
            told = [event.type async for event in fork.events()]
            assert told.index("run.forked") < told.index("step.started") < told.index("run.completed")
            assert (await run.refresh()).status == "suspended"
            with pytest.raises(RpcError) as caught:
                await run.time_travel("ask", context={"nothing": 1})
            assert caught.value.code == ErrorCode.INVALID_PARAMS
            assert await run.restart() is run
            await run.cancel()
            again = await run.restart(item_indexes=[0])
            assert (await again.wait(wait_for="settled")).status == "suspended"
            assert again.last_seen.forked_from == run.id
            with pytest.raises(RunNotFoundError):
                await client.get_run("00000000-0000-7000-8000-000000000000").restart()


async def test_a_blocking_handle_gives_the_fork(address: str) -> None:
    def script() -> None:
        with connect(address) as client:
            run = client.start(FLOW, [1, 2])
            run.wait(wait_for="settled")
            fork = run.time_travel("ask", input={"other": 1}, resume_data={"yes": 1}, wait=True)
            assert fork.return_value() == [{"yes": 1}, {"yes": 1}]
            run.cancel()
            assert run.restart(only="failed").status == "cancelled"  # nothing failed

    with trio.fail_after(PATIENCE_S):
        await trio.to_thread.run_sync(script)
