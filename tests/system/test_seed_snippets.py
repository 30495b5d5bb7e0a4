"""The published snippets, unmodified, in a component server: over stdio, dialled over TCP, and dialling in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.wire import ROOT, RawClient, make_flow, serve
from tests.system.servers import SEED, config

DOUBLE = {
    "name": "sub",
    "steps": [{"id": "d", "component": "/python/double", "input": {"item": {"$input": "item"}}}],
    "output": {"$step": "d"},
}


@contextmanager
def started(script: Path, *options: str) -> Generator[subprocess.Popen[str]]:
    """The component server as a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), *options]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def runtime_over_stdio(folder: Path) -> Generator[RawClient]:
    with serve(folder, config(folder, SEED)) as runtime, runtime.connect() as client:
        yield client


@contextmanager
def runtime_that_dials(folder: Path) -> Generator[RawClient]:
    (folder / "server.py").write_text(SEED)
    with started(folder / "server.py", "--tcp", "127.0.0.1:0") as server:
        assert server.stderr is not None
        address = server.stderr.readline().split()[-1]
        parts = config(folder, SEED, url=f"tcp://{address}")
        with serve(folder, parts) as runtime, runtime.connect() as client:
            yield client


@contextmanager
def runtime_that_is_dialled(folder: Path) -> Generator[RawClient]:
    with serve(folder, config(folder, SEED, accept="seed")) as runtime, runtime.connect() as client:
        address = "{}:{}".format(*runtime.address)
        with started(folder / "server.py", "--connect", address, "--name", "seed"):
            yield client


@pytest.fixture(params=[runtime_over_stdio, runtime_that_dials, runtime_that_is_dialled], scope="module")
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[RawClient]:
    with request.param(tmp_path_factory.mktemp("seed")) as client:
        yield client


def value_of(client: RawClient, component: str, input: Any) -> Any:
    status = client.run(make_flow(f"/python/{component}"), [input])
    result = status["results"][0]["result"]
    assert result["outcome"] == "success", result
    return result["value"]


def test_the_orchestrator_runs_a_sub_workflow(client: RawClient) -> None:
    results = value_of(client, "orchestrator", {"items": [1, 2, 3]})["results"]
    assert [entry["itemIndex"] for entry in results] == [0, 1, 2]
    assert [entry["result"] for entry in results] == [
        {"outcome": "success", "value": {"doubled": doubled}} for doubled in (2, 4, 6)
    ]
    assert all(entry["completedAt"].endswith("Z") for entry in results)


def test_the_batch_processor_counts_partial_failures(client: RawClient) -> None:
    items = [{"item": item} for item in (1, 13, 3, 13, 5)]
    output = value_of(client, "batch_processor", {"workflow_id": client.put_flow(DOUBLE), "batch_items": items})
    assert output == {"processed": 3, "failed": 2}


def test_the_async_processor_polls_for_completion(client: RawClient) -> None:
    output = value_of(client, "async_processor", {"workflow_id": client.put_flow(DOUBLE), "data": {"item": 21}})
    assert output["result"]["itemIndex"] == 0
    assert output["result"]["result"] == {"outcome": "success", "value": {"doubled": 42}}


def test_sub_runs_know_where_they_come_from(client: RawClient) -> None:
    parent = client.run(make_flow("/python/orchestrator"), [{"items": [1]}])
    (child,) = client.call("runs/list", {"parentRunId": parent["runId"]})["runs"]
    assert child["rootRunId"] == parent["runId"]
    created = client.call("runs/events", {"runId": parent["runId"], "types": ["subRun.created"]})["events"]
    assert [event["data"]["runId"] for event in created] == [child["runId"]]
