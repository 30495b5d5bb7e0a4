"""Many who wait: runs that have not ended, and clients, each with a connection of its own, that wait for them.

The runs wait for a component that never returns. Memory and idle processor time are the runtime's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trio

from benchmarks.bench import Bench, one_step, open_bench
from benchmarks.scenario import Goal, Reading, Scenario
from component_sdk import open_client

RUNS: Final = 10_000
WAITERS: Final = 1000
SETTLE_S: Final = 2.0
IDLE_S: Final = 5.0
DIALLING_AT_ONCE: Final = 50
CONNECTION: Final = "Each has a connection of its own: a task, a nursery, and a link with its peer."


async def measure_waiters(folder: Path | None) -> Reading:
    """What a waiter and an open run cost while nothing happens."""
    async with open_bench(folder) as bench:
        at_first = bench.read_usage()["runtime"]
        run_ids = await _submit_open_runs(bench)
        await trio.sleep(SETTLE_S)
        with_runs = bench.read_usage()["runtime"]
        async with trio.open_nursery() as nursery:
            dialling = trio.CapacityLimiter(DIALLING_AT_ONCE)
            for run_id in run_ids[:WAITERS]:
                await nursery.start(_wait_for_run, bench.address, run_id, dialling)
            await trio.sleep(SETTLE_S)
            with_waiters = bench.read_usage()["runtime"]
            idle = await _measure_idle(bench)
            nursery.cancel_scope.cancel()
    return Reading(
        {
            "idle CPU %": idle,
            "KiB a waiter": (with_waiters.memory_mb - with_runs.memory_mb) * 1024 / WAITERS,
            "KiB an open run": (with_runs.memory_mb - at_first.memory_mb) * 1024 / RUNS,
        }
    )


async def _submit_open_runs(bench: Bench) -> list[str]:
    flow_id = await bench.client.put_blob(one_step("wait_for_ever"), "flow")
    run_ids: list[str] = []
    left = iter(range(RUNS))

    async def submit_next() -> None:
        for n in left:
            status = await bench.client.submit_run(flow_id, [n])
            run_ids.append(status.run_id)

    async with trio.open_nursery() as nursery:
        for _ in range(64):
            nursery.start_soon(submit_next)
    return run_ids


async def _wait_for_run(
    address: str,
    run_id: str,
    dialling: trio.CapacityLimiter,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    task_status.started()
    async with dialling:
        client_context = open_client(address)
        client = await client_context.__aenter__()
    try:
        await client.get_run(run_id).wait()
    finally:
        await client_context.__aexit__(None, None, None)


async def _measure_idle(bench: Bench) -> float:
    """Percent of one core that the runtime and its component server use together."""
    before, started_at = bench.read_usage(), trio.current_time()
    await trio.sleep(IDLE_S)
    after, seconds = bench.read_usage(), trio.current_time() - started_at
    used_s = sum(after[name].cpu_s - before[name].cpu_s for name in ("runtime", "server"))
    return used_s / seconds * 100


SCENARIOS: Final = (
    Scenario(
        "S11",
        "1,000 clients wait, 10,000 open runs",
        (Goal("idle CPU %", 1, is_ceiling=True), Goal("KiB a waiter", 10, is_ceiling=True, limit=CONNECTION)),
        measure_waiters,
        rounds=1,
    ),
)
