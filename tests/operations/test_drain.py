"""SIGTERM lets what is in flight end and takes nothing new; a second signal stops at once; the rest goes on later."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conformance.wire import PATIENCE_S, RawClient, ServedRuntime, make_flow, serve
from tests.system.processes import await_that
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


def test_a_runtime_that_stopped_has_all_in_the_database_file(tmp_path: Path, parts: dict[str, Any]) -> None:
    with serve(tmp_path, parts) as runtime:
        with runtime.connect() as client:
            submit(client, "/builtin/noop", [1, 2, 3], wait=True)
        assert stop(runtime) == 0
    alone = tmp_path / "alone.db"
    alone.write_bytes((tmp_path / "state.db").read_bytes())
    with closing(sqlite3.connect(alone)) as database:
        assert database.execute("SELECT status, success FROM runs").fetchall() == [("success", 3)]
