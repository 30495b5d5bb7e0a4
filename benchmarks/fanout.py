"""Many items of one step: the main job, in memory and durable, in batches, and over several processes.

The client sends the inputs in chunks over TCP, and the first of them start while the last are on their way. The clock
stops when the client is told that the run has ended. Each round has a fresh runtime, warmed up with 1,000 items.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from benchmarks.bench import Bench, Meter, Storage, one_step, open_bench
from benchmarks.peers.work import Work
from benchmarks.scenario import Goal, Reading, Scenario
from benchmarks.server import compute_digest
from component_sdk import Client
from protocol.runs import RunStatus

RATE: Final = "items/s"
MEMORY: Final = "runtime's peak MiB"
WARM_UP_ITEMS: Final = 1000
TOIL_ROUNDS: Final = 10_000
TOIL_ITEMS: Final = 300
ONE_THREAD: Final = (
    "About 7 µs of processor time an item in one thread are 140,000/s at most, and the writer's thread needs the same "
    "interpreter. To take the items of a batch through the engine as one range would be another engine."
)
SHARED_CORES: Final = (
    "What two processes reach with no runtime around them stands beside it; the runtime and the client take a part of "
    "the two cores, too."
)


async def run_all(client: Client, flow: dict[str, Any], inputs: Iterable[Any]) -> RunStatus:
    """Submits a run and waits until it has ended.

    Raises:
        RuntimeError: An item did not succeed.
    """
    run = await client.start(flow, inputs)
    status = await run.wait()
    if status.items.success != status.items.total:
        raise RuntimeError(f"{status.items.success} of {status.items.total} items succeeded: {status}")
    return status


async def time_items(bench: Bench, items: int, component: str = "double") -> Reading:
    """Measures one run in a runtime that is up."""
    await run_all(bench.client, one_step(component), ({"n": n} for n in range(WARM_UP_ITEMS)))
    meter = Meter(bench)
    await run_all(bench.client, one_step(component), ({"n": n} for n in range(items)))
    meter.stop()
    costs = meter.read_costs(items)
    return Reading({RATE: items / meter.seconds, MEMORY: costs["runtime"].peak_mb}, costs)


async def measure_items(items: int, storage: Storage, component: str, folder: Path | None) -> Reading:
    """Measures one run in a fresh runtime."""
    async with open_bench(folder, storage=storage) as bench:
        return await time_items(bench, items, component)


async def measure_processes(folder: Path | None) -> Reading:
    """How much faster two processes compute than one, and how much that is on this machine with nothing around them."""
    seconds = [await _time_toil(folder, processes) for processes in (1, 2)]
    bare = [_time_bare_toil(processes) for processes in (1, 2)]
    return Reading({"x of one process": seconds[0] / seconds[1], "x without a runtime": bare[0] / bare[1]})


async def _time_toil(folder: Path | None, processes: int) -> float:
    toil = {"rounds": TOIL_ROUNDS}
    async with open_bench(folder, processes=processes) as bench:
        await run_all(bench.client, one_step("compute"), [toil] * 10)
        meter = Meter(bench)
        await run_all(bench.client, one_step("compute"), [toil] * TOIL_ITEMS)
        meter.stop()
    return meter.seconds


def _time_bare_toil(processes: int) -> float:
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        list(pool.map(compute_digest, [TOIL_ROUNDS] * 10))
        started_at = time.perf_counter()
        list(pool.map(compute_digest, [TOIL_ROUNDS] * TOIL_ITEMS, chunksize=10))
        return time.perf_counter() - started_at


def _measure(items: int, storage: Storage, component: str = "double") -> Callable[[Path | None], Awaitable[Reading]]:
    return partial(measure_items, items, storage, component)


SCENARIOS: Final = (
    Scenario("S1", "10,000 items, in memory", (Goal(RATE, 60_000, 100_000),), _measure(10_000, "memory")),
    Scenario(
        "S1d",
        "10,000 items, durable",
        (Goal(RATE, 50_000, 80_000), Goal(MEMORY, 120, is_ceiling=True)),
        _measure(10_000, "sqlite"),
        work=Work.FAN_OUT,
    ),
    Scenario(
        "S1d-1M",
        "1,000,000 items, durable",
        (Goal(RATE, 50_000, 80_000), Goal(MEMORY, 120, is_ceiling=True)),
        _measure(1_000_000, "sqlite"),
        rounds=2,
    ),
    Scenario(
        "S8",
        "100,000 items in batches of 100",
        (Goal(RATE, 150_000, limit=ONE_THREAD),),
        _measure(100_000, "sqlite", "double_many"),
        rounds=3,
    ),
    Scenario(
        "S10",
        "components that compute, in two processes",
        (Goal("x of one process", 1.8, limit=SHARED_CORES),),
        measure_processes,
        rounds=3,
    ),
)
