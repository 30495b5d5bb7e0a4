"""Stepflow at work, in its own environment: `python -m benchmarks.peers.stepflow_driver WORK FOLDER` prints one number.

The orchestrator is the published binary, its state in SQLite; the worker is a Python process that may take 100 tasks at
once (its default of 4 is slower).
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from stepflow_py import StepflowClient

from benchmarks.peers.work import Work

WORKER = Path(__file__).with_name("stepflow_worker.py")
ITEMS = 1000
RUNS = 100
CHAINS = 100
STEPS = 10
PARENTS = 20
CHILDREN = 10

CONFIG = """
plugins:
  builtin: {{type: builtin}}
  python:
    type: grpc
    command: {python}
    args: [{worker}]
    queueName: python
    env: {{STEPFLOW_MAX_CONCURRENT: "100", STEPFLOW_LOG_LEVEL: ERROR, STEPFLOW_TRACE_ENABLED: "false"}}
routes:
  "/python": [{{plugin: python}}]
storageConfig: {{type: sqlite, databaseUrl: "sqlite:{folder}/state.db?mode=rwc"}}
"""


async def measure(work: Work, client: StepflowClient) -> float:
    """Does it once small, to warm up, and once to be measured."""
    double = await _store(client, "double", 1)
    await client.run(double, [{"n": n} for n in range(20)])
    match work:
        case Work.FAN_OUT:
            return ITEMS / await _time_run(client, double, [{"n": n} for n in range(ITEMS)])
        case Work.ONE_RUN:
            return 1000 * statistics.median([await _time_run(client, double, [{"n": n}]) for n in range(RUNS)])
        case Work.CHAIN:
            chain = await _store(client, "double", STEPS)
            return CHAINS * STEPS / await _time_run(client, chain, [{"n": n} for n in range(CHAINS)])
        case Work.NESTED:
            parent = await _store(client, "parent", 1)
            family = {"flow_id": double, "children": CHILDREN}
            return PARENTS / await _time_run(client, parent, [family] * PARENTS)


async def _store(client: StepflowClient, component: str, steps: int) -> str:
    """A flow of so many steps in a row; the steps of a row pass on what the one before gave."""
    made: list[dict[str, Any]] = [
        {"id": f"s{n}", "component": f"/python/{component}", "input": {"$step": f"s{n - 1}"} if n else {"$input": "$"}}
        for n in range(steps)
    ]
    flow = {"name": component, "steps": made, "output": {"$step": f"s{steps - 1}"}}
    return str((await client.store_flow(flow)).flow_id)


async def _time_run(client: StepflowClient, flow_id: str, inputs: list[dict[str, Any]]) -> float:
    started_at = time.perf_counter()
    response = await client.run(flow_id, inputs, wait_timeout=300)
    seconds = time.perf_counter() - started_at
    done = response.summary.items.completed
    if done != len(inputs):
        raise RuntimeError(f"{done} of {len(inputs)} items succeeded: {response}")
    return seconds


async def run(work: Work, folder: str) -> float:
    """Starts an orchestrator, and measures it."""
    config = Path(folder) / "stepflow-config.yml"
    config.write_text(CONFIG.format(python=sys.executable, worker=WORKER, folder=folder))
    async with StepflowClient.local(config, log_level="error") as client:
        return await measure(work, client)


if __name__ == "__main__":
    print(asyncio.run(run(Work(sys.argv[1]), sys.argv[2])), end="")
