"""Components that do not end when their time is over: their process is stopped, with all that it has started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conformance.wire import RawClient, ServedRuntime, make_flow, serve
from tests.system.processes import await_that, find_children, find_marked
from tests.system.servers import config

STUBBORN: Final = """
import os
import signal
import subprocess
import time

from component_sdk import ComponentServer

server = ComponentServer()


@server.component
def block(input: int) -> int:
    "Nothing reaches a thread that sleeps; and what it starts outlives SIGTERM."
    subprocess.Popen(["/bin/sh", "-c", "trap '' TERM; sleep 600"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(600)
    return input


@server.component
async def freeze(input: int) -> int:
    os.kill(os.getpid(), signal.SIGSTOP)
    return input


@server.component
async def echo(input: int) -> int:
    return input


server.run()
"""


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Any]:
    return {
        **config(tmp_path, STUBBORN, storage=True),
        "retry": {"transportMaxRetries": 0},
        "limits": {"cancelTimeoutMs": 200},
    }


pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes are looked at in /proc")


@pytest.mark.parametrize("component", ["block", "freeze"])
def test_a_component_that_outlasts_its_time_out_ends_with_its_process(
    tmp_path: Path, parts: dict[str, Any], component: str
) -> None:
    with serve(tmp_path, parts) as runtime, runtime.connect() as client:
        before = start_server(client, tmp_path)
        flow = make_flow(f"/python/{component}", timeoutMs=100)
        result = client.run(flow, [1])["results"][0]["result"]
        assert result["error"]["code"] == "TIMEOUT", "the item does not wait for it"
        expect_another_server(runtime, client, tmp_path, before)


def test_a_component_that_ignores_its_cancellation_ends_with_its_process(tmp_path: Path, parts: dict[str, Any]) -> None:
    with serve(tmp_path, parts) as runtime, runtime.connect() as client:
        before = start_server(client, tmp_path)
        flow_id = client.put_flow(make_flow("/python/block"))
        run_id = client.call("runs/submit", {"flowId": flow_id, "inputs": [1]})["runId"]
        await_that(lambda: len(find_marked(tmp_path / "state.db")) > 1)
        answer = client.call("runs/cancel", {"runId": run_id, "graceMs": 50})
        assert answer["run"]["status"] == "cancelled", "the run does not wait for it"
        expect_another_server(runtime, client, tmp_path, before)


def start_server(client: RawClient, folder: Path) -> set[int]:
    """The processes of the server, when it is ready."""
    assert client.run_one("/python/echo", 1)["value"] == 1
    return {process.pid for process in find_marked(folder / "state.db")}


def expect_another_server(runtime: ServedRuntime, client: RawClient, folder: Path, before: set[int]) -> None:
    await_that(lambda: not before & {child.pid for child in find_children(runtime.process.pid)})
    assert client.run_one("/python/echo", 2)["value"] == 2
    servers = {child.pid for child in find_children(runtime.process.pid)}
    assert {process.session for process in find_marked(folder / "state.db")} == servers, "what it started is gone"
