"""One small item at a time: what a person waits for, alone, in a crowd, and beside a big run.

Each round has a fresh runtime, warmed up with 200 runs.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

from benchmarks.bench import Bench, Meter, one_step, open_bench
from benchmarks.peers.work import Work
from benchmarks.scenario import Goal, Reading, Scenario
from component_sdk import Client, Run

P50: Final = "p50 ms"
P99: Final = "p99 ms"
KEPT: Final = "rate kept"
WARM_UP_RUNS: Final = 200
RUNS: Final = 1000
OUTSTANDING: Final = 64
CROWD_RUNS: Final = 6400
BIG_ITEMS: Final = 1_000_000
WINDOW_S: Final = 1.0
TWO_SYNCS: Final = (
    "Two commits and two round trips: twice what a sync of this disk takes and twice what the bare pipe takes are most "
    "of it already. The rest is processor time of a process that falls asleep four times in between."
)
COPYING: Final = "A commit that meets the copying of the write-ahead log into the database waits for the disk twice."
ONE_CORE: Final = (
    "About 0.22 ms of processor time a run on one core: 4,500/s at most. A quarter of it is the writer's thread, which "
    "needs the same interpreter; no function has more than a few hundredths."
)
BEHIND_COMMITS: Final = "Each of its two commits waits for one of the big run that is under way, and then for its own."
OWN_SHARE: Final = "Small runs that come back to back take their own share of the processor, about a third."


async def submit_in_turn(client: Client, runs: int) -> list[float]:
    """Submits runs of one item, each when the one before has ended.

    Returns:
        How long each took, in milliseconds.
    """
    flow_id = await client.put_blob(one_step("double"), "flow")
    times_ms: list[float] = []
    for n in range(runs):
        started_at = time.perf_counter()
        await client.submit_run(flow_id, [{"n": n}], wait=True)
        times_ms.append((time.perf_counter() - started_at) * 1000)
    return times_ms


async def measure_one(folder: Path | None) -> Reading:
    """From submitting one item, awaited, to its result."""
    async with open_bench(folder) as bench:
        await submit_in_turn(bench.client, WARM_UP_RUNS)
        meter = Meter(bench)
        times_ms = await submit_in_turn(bench.client, RUNS)
        return Reading(describe_times(times_ms), meter.read_costs(RUNS))


async def submit_crowd(client: Client, runs: int) -> None:
    """Submits runs of one item, so many at once."""
    flow_id = await client.put_blob(one_step("double"), "flow")
    left = iter(range(runs))

    async def submit_next() -> None:
        for n in left:
            await client.submit_run(flow_id, [{"n": n}], wait=True)

    async with trio.open_nursery() as nursery:
        for _ in range(OUTSTANDING):
            nursery.start_soon(submit_next)


async def measure_crowd(folder: Path | None) -> Reading:
    """Runs a second, with so many outstanding from one client."""
    async with open_bench(folder) as bench:
        await submit_crowd(bench.client, WARM_UP_RUNS)
        meter = Meter(bench)
        await submit_crowd(bench.client, CROWD_RUNS)
        meter.stop()
        return Reading({"runs/s": CROWD_RUNS / meter.seconds}, meter.read_costs(CROWD_RUNS))


async def measure_beside_big(folder: Path | None) -> Reading:
    """Small runs beside a big one, which another process submits: for one window they run, for the next they don't."""
    alone: list[float] = []
    beside: list[float] = []
    times_ms: list[float] = []
    async with open_bench(folder) as bench:
        await submit_in_turn(bench.client, WARM_UP_RUNS)
        with _submit_big(bench.address):
            big = await _find_big(bench)
            await trio.sleep(WINDOW_S)
            while True:
                rate = await _time_window(big, [])
                if big.has_ended:
                    break
                alone.append(rate)
                rate = await _time_window(big, times_ms, bench.client)
                if big.has_ended:
                    break
                beside.append(rate)
    kept = statistics.median(beside) / statistics.median(alone)
    return Reading({**describe_times(times_ms), KEPT: kept, "items/s alone": statistics.median(alone)})


def describe_times(times_ms: list[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    return {P50: statistics.median(times_ms), P99: statistics.quantiles(times_ms, n=100)[98]}


@contextmanager
def _submit_big(address: str) -> Generator[None]:
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.big_run", address, str(BIG_ITEMS)])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


async def _find_big(bench: Bench) -> Run:
    with trio.fail_after(20):
        while True:
            async for status in bench.client.list_runs(labels={"size": "big"}):
                return bench.client.get_run(status.run_id)
            await trio.sleep(0.05)


async def _time_window(big: Run, times_ms: list[float], client: Client | None = None) -> float:
    """The big run's items a second, within one window, in which a client submits small ones, or none does."""
    done_before = (await big.refresh()).items.success
    started_at = time.perf_counter()
    if client is None:
        await trio.sleep(WINDOW_S)
    while time.perf_counter() - started_at < WINDOW_S:
        assert client is not None
        times_ms += await submit_in_turn(client, 20)
    done = (await big.refresh()).items.success - done_before
    return done / (time.perf_counter() - started_at)


SCENARIOS: Final = (
    Scenario(
        "S2",
        "one item, submitted and awaited, durable",
        (
            Goal(P50, 0.8, 0.65, is_ceiling=True, limit=TWO_SYNCS),
            Goal(P99, 2.5, is_ceiling=True, limit=COPYING),
        ),
        measure_one,
        work=Work.ONE_RUN,
    ),
    Scenario("S2b", "the same, 64 outstanding from one client", (Goal("runs/s", 8000, limit=ONE_CORE),), measure_crowd),
    Scenario(
        "S2c",
        "the same, beside a run of 1,000,000 items",
        (Goal(P50, 5, is_ceiling=True, limit=BEHIND_COMMITS), Goal(KEPT, 0.7, limit=OWN_SHARE)),
        measure_beside_big,
        rounds=1,
    ),
)
