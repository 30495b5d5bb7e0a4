"""SIGTERM lets what is in flight end and takes nothing new; a second signal stops at once; the rest goes on later."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conformance.wire import PATIENCE_S, ROOT, RawClient, ServedRuntime, make_flow, serve
from tests.system.processes import await_that, find_children, find_marked
from tests.system.servers import config

GATED: Final = '''
import os
from pathlib import Path

import trio

from component_sdk import ComponentServer, StepflowContext

server = ComponentServer()
FOLDER = Path(os.environ["FOLDER"])
GATED = {"name": "gated", "steps": [{"id": "g", "component": "/python/gated", "input": {"$input": "$"}}],
         "output": {"$step": "g"}}


@server.component
async def gated(input: int, ctx: StepflowContext) -> int:
    """Notes that it begins, and ends once the gate is open."""
    (FOLDER / f"begun-{ctx.run_id}-{input}-{ctx.attempt}").touch()
    while not (FOLDER / "gate").exists():
        await trio.sleep(0.01)
    return input


@server.component
async def parent(input: int, ctx: StepflowContext) -> int:
    status = await ctx.submit_run(flow=GATED, inputs=[input], wait=True)
    again = await ctx.submit_run(flow=GATED, inputs=[input + 1], wait=True)
    return status.results[0].result.value + again.results[0].result.value


if __name__ == "__main__":
    server.run()
'''


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Any]:
    return config(tmp_path, GATED, storage=True, env={"FOLDER": str(tmp_path)})


def begun(folder: Path) -> int:
    return len(list(folder.glob("begun-*")))


def submit(client: RawClient, component: str, inputs: list[int], **params: Any) -> str:
    flow_id = client.put_flow(make_flow(component))
    run_id: str = client.call("runs/submit", {"flowId": flow_id, "inputs": inputs, **params})["runId"]
    return run_id


def await_draining(client: RawClient) -> None:
    flow_id = client.put_flow(make_flow("/builtin/noop"))

    def is_draining() -> bool:
        try:
            client.call("runs/submit", {"flowId": flow_id, "inputs": []})
        except Exception:
            return True
        return False

    await_that(is_draining)


def stop(runtime: ServedRuntime, *, signals: int = 1) -> int:
    for _ in range(signals):
        runtime.process.terminate()
    return runtime.process.wait(PATIENCE_S)


def test_what_is_in_flight_may_end_and_nothing_new_begins(tmp_path: Path, parts: dict[str, Any]) -> None:
    with serve(tmp_path, parts) as runtime:
        with runtime.connect() as client:
            run_id = submit(client, "/python/gated", [1, 2, 3, 4], maxConcurrency=2)
            flow_id = client.put_flow(make_flow("/builtin/noop"))
            await_that(lambda: begun(tmp_path) == 2)
            runtime.process.terminate()
            await_draining(client)
            refusal = client.refuse("runs/submit", {"flowId": flow_id, "inputs": [1]})
            assert (refusal.code, refusal.data["type"]) == (-32024, "throttled")
            assert refusal.data["retryAfterMs"] > 0
            assert client.call("runs/get", {"runId": run_id})["status"] == "running", "what is there can be looked at"
            (tmp_path / "gate").touch()
        assert runtime.process.wait(PATIENCE_S) == 0, runtime.log
        assert begun(tmp_path) == 2, "no item began while the runtime drained"
    with serve(tmp_path, parts) as runtime, runtime.connect() as client:
        status = client.call("runs/get", {"runId": run_id, "wait": True, "includeResults": True})
        assert [entry["result"]["value"] for entry in status["results"]] == [1, 2, 3, 4]
    assert begun(tmp_path) == 4, "what ended while the runtime drained was committed, and did not go again"


def test_an_execution_that_waits_for_a_sub_run_holds_no_drain_up(tmp_path: Path, parts: dict[str, Any]) -> None:
    with serve(tmp_path, parts) as runtime:
        with runtime.connect() as client:
            run_id = submit(client, "/python/parent", [10])
            await_that(lambda: begun(tmp_path) == 1)
            runtime.process.terminate()
            await_draining(client)
            (tmp_path / "gate").touch()
        began = time.monotonic()
        assert runtime.process.wait(PATIENCE_S) == 0, runtime.log
        assert time.monotonic() - began < 20, "its second submission waits for the next start, not for the time-out"
    with serve(tmp_path, parts) as runtime, runtime.connect() as client:
        status = client.call("runs/get", {"runId": run_id, "wait": True, "includeResults": True})
        assert status["results"][0]["result"]["value"] == 21
    assert begun(tmp_path) == 2, "the first sub-run was found again, and had ended"


def test_a_drain_ends_after_its_time(tmp_path: Path, parts: dict[str, Any]) -> None:
    parts["limits"] = {"drainTimeoutMs": 200}
    with serve(tmp_path, parts) as runtime:
        with runtime.connect() as client:
            run_id = submit(client, "/python/gated", [1])
            await_that(lambda: begun(tmp_path) == 1)
        assert stop(runtime) == 0
        assert "not all that was in flight has ended in time" in runtime.log
    (tmp_path / "gate").touch()
    with serve(tmp_path, parts) as runtime, runtime.connect() as client:
        assert client.call("runs/get", {"runId": run_id, "wait": True})["status"] == "success"


def test_a_second_signal_stops_at_once(tmp_path: Path, parts: dict[str, Any]) -> None:
    with serve(tmp_path, parts) as runtime:
        with runtime.connect() as client:
            submit(client, "/python/gated", [1])
            await_that(lambda: begun(tmp_path) == 1)
            runtime.process.terminate()
            await_draining(client)
        began = time.monotonic()
        assert stop(runtime) == 0
        assert time.monotonic() - began < 10, "drainTimeoutMs is 30 s"


class StdioClient(RawClient):
    """Lines to a runtime that was spawned, over its stdin and stdout."""

    def __init__(self, stdio: socket.socket) -> None:
        self._socket = stdio
        self._lines = stdio.makefile("rb")
        self._last_id = 0


@contextmanager
def serve_stdio(folder: Path, parts: dict[str, Any]) -> Generator[tuple[RawClient, subprocess.Popen[bytes]]]:
    path = folder / "stepflow-config.json"
    path.write_text(json.dumps(parts))
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE_S)
    process = subprocess.Popen(
        [sys.executable, "-m", "stepflow_runtime.app.cli", "serve", "--stdio", "--config", path],
        stdin=theirs.fileno(),
        stdout=theirs.fileno(),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=folder,
    )
    theirs.close()
    try:
        with StdioClient(ours) as client:
            yield client, process
    finally:
        process.kill()
        process.wait()


def test_a_runtime_on_stdio_drains_too_and_answers_who_waits(tmp_path: Path, parts: dict[str, Any]) -> None:
    with serve_stdio(tmp_path, parts) as (client, process):
        run_id = submit(client, "/python/gated", [1, 2, 3], maxConcurrency=2)
        waited_for = submit(client, "/python/gated", [4])
        await_that(lambda: begun(tmp_path) == 3)
        process.terminate()
        await_draining(client)
        ask = {"jsonrpc": "2.0", "id": "w", "method": "runs/get", "params": {"runId": waited_for, "wait": True}}
        client.send(json.dumps(ask).encode() + b"\n")
        (tmp_path / "gate").touch()
        answer = json.loads(client.read_line())
        assert (answer["id"], answer["result"]["status"]) == ("w", "success")
        assert process.wait(PATIENCE_S) == 0
    with serve_stdio(tmp_path, parts) as (client, process):
        status = client.call("runs/get", {"runId": run_id, "wait": True, "includeResults": True})
        assert [entry["result"]["value"] for entry in status["results"]] == [1, 2, 3]
        client.end_sending()
        assert process.wait(PATIENCE_S) == 0
    assert begun(tmp_path) == 4, "what ended while the runtime drained was committed, and did not go again"


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_a_runtime_on_stdio_at_once(
    tmp_path: Path, parts: dict[str, Any], second: signal.Signals
) -> None:
    with serve_stdio(tmp_path, parts) as (client, process):
        submit(client, "/python/gated", [1])
        await_that(lambda: begun(tmp_path) == 1)
        process.terminate()
        await_draining(client)
        for server in find_children(process.pid):
            os.kill(server.pid, signal.SIGSTOP)
        began = time.monotonic()
        process.send_signal(second)
        assert process.wait(PATIENCE_S) == 0
        assert time.monotonic() - began < 10, "drainTimeoutMs is 30 s"
    assert find_marked(tmp_path / "state.db") == []


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes are looked at in /proc")
def test_a_server_that_stops_for_nothing_is_killed_with_all_that_it_started(
    tmp_path: Path, parts: dict[str, Any]
) -> None:
    parts["limits"] = {"drainTimeoutMs": 100}
    with serve(tmp_path, parts) as runtime:
        with runtime.connect() as client:
            submit(client, "/python/gated", [1])
            await_that(lambda: begun(tmp_path) == 1)
        (server,) = find_children(runtime.process.pid)
        os.kill(server.pid, signal.SIGSTOP)  # it sees neither the end of its stdin nor SIGTERM
        began = time.monotonic()
        assert stop(runtime) == 0
        assert time.monotonic() - began < 20, "twice 2 s after the drain"
    assert find_marked(tmp_path / "state.db") == []


def test_a_runtime_that_stopped_has_all_in_the_database_file(tmp_path: Path, parts: dict[str, Any]) -> None:
    with serve(tmp_path, parts) as runtime:
        with runtime.connect() as client:
            submit(client, "/builtin/noop", [1, 2, 3], wait=True)
        assert stop(runtime) == 0
    alone = tmp_path / "alone.db"
    alone.write_bytes((tmp_path / "state.db").read_bytes())
    with closing(sqlite3.connect(alone)) as database:
        assert database.execute("SELECT status, success FROM runs").fetchall() == [("success", 3)]
