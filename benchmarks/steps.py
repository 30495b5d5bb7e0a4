"""Flows of several steps, components that submit runs, and components that wait.

Each round has a fresh runtime, warmed up with the same work at a tenth of its size.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Final

from benchmarks.bench import Meter, one_step, open_bench, steps_in_a_row
from benchmarks.fanout import run_all
from benchmarks.peers.work import Work
from benchmarks.scenario import Goal, Reading, Scenario

ITEMS: Final = 1000
STEPS: Final = 10
PARENTS: Final = 100
CHILDREN: Final = 10
REPEATS: Final = 5
NAP_MS: Final = 100


async def measure_chain(folder: Path | None) -> Reading:
    """Steps a second of a flow in which each needs the one before."""
    flow = steps_in_a_row("double", STEPS)
    async with open_bench(folder) as bench:
        await run_all(bench.client, flow, ({"n": n} for n in range(ITEMS // 10)))
        meter = Meter(bench)
        await run_all(bench.client, flow, ({"n": n} for n in range(ITEMS)))
        meter.stop()
        return Reading({"steps/s": ITEMS * STEPS / meter.seconds}, meter.read_costs(ITEMS * STEPS))


async def measure_nested(folder: Path | None) -> Reading:
    """Parents a second, each of which submits its children as one run and waits for it."""
    async with open_bench(folder) as bench:
        family = {"flow_id": await bench.client.put_blob(one_step("double"), "flow"), "children": CHILDREN}
        await run_all(bench.client, one_step("parent"), [family] * (PARENTS // 10))
        rates: list[float] = []
        whole = Meter(bench)
        for _ in range(REPEATS):
            meter = Meter(bench)
            await run_all(bench.client, one_step("parent"), [family] * PARENTS)
            meter.stop()
            rates.append(PARENTS / meter.seconds)
        return Reading({"parents/s": statistics.median(rates)}, whole.read_costs(PARENTS * REPEATS))


async def measure_naps(folder: Path | None) -> Reading:
    """How long many items take that wait and do nothing else."""
    async with open_bench(folder) as bench:
        await run_all(bench.client, one_step("sleep"), [{"ms": 1}] * (ITEMS // 10))
        meter = Meter(bench)
        await run_all(bench.client, one_step("sleep"), [{"ms": NAP_MS}] * ITEMS)
        meter.stop()
        return Reading({"s": meter.seconds}, meter.read_costs(ITEMS))


SCENARIOS: Final = (
    Scenario(
        "S3", "1,000 items of 10 steps, durable", (Goal("steps/s", 50_000, 90_000),), measure_chain, work=Work.CHAIN
    ),
    Scenario(
        "S4",
        "100 parents, 10 children each, durable",
        (Goal("parents/s", 1500),),
        measure_nested,
        work=Work.NESTED,
    ),
    Scenario("S7", "1,000 items that wait 100 ms", (Goal("s", 0.15, is_ceiling=True),), measure_naps),
)
