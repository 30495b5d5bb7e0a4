"""Items of a megabyte, in and out of a component: one string, or a structure of many small parts.

The clock stops when the client is told that the run has ended; the rate with the results fetched too stands beside it.
Each round has a fresh runtime, warmed up with 4 items.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.bench import Bench, Meter, one_step, open_bench
from benchmarks.fanout import run_all
from benchmarks.scenario import Goal, Reading, Scenario

RATE: Final = "items/s"
WARM_UP_ITEMS: Final = 4
MEGABYTE: Final = 1_000_000


def make_string() -> str:
    """A string whose JSON has a megabyte."""
    return "x" * (MEGABYTE - 2)


def make_structure() -> list[dict[str, Any]]:
    """A list of small objects whose JSON has about a megabyte."""
    one = {"id": 12345, "name": "a name like others", "tags": ["red", "green"], "weight": 1.25, "parent": None}
    return [one] * (MEGABYTE // (len(msgspec.json.encode(one)) + 1))


async def measure_payload(value: Any, items: int, folder: Path | None) -> Reading:
    """Items a second of such inputs, which come back as results."""
    async with open_bench(folder) as bench:
        await run_all(bench.client, one_step("echo"), [value] * WARM_UP_ITEMS)
        meter = Meter(bench)
        status = await run_all(bench.client, one_step("echo"), [value] * items)
        meter.stop()
        costs = meter.read_costs(items)
        seconds = meter.seconds
        await _fetch_results(bench, status.run_id, items)
        meter.stop()
        return Reading({RATE: items / seconds, "items/s, results fetched": items / meter.seconds}, costs)


async def _fetch_results(bench: Bench, run_id: str, items: int) -> None:
    count = 0
    async for _ in bench.client.get_run(run_id).results():
        count += 1
    if count != items:
        raise RuntimeError(f"{count} results came of {items}.")


SCENARIOS: Final = (
    Scenario("S5", "strings of 1 MB", (Goal(RATE, 300),), partial(measure_payload, make_string(), 200), rounds=3),
    Scenario("S5s", "structures of 1 MB", (Goal(RATE, 60),), partial(measure_payload, make_structure(), 50), rounds=3),
)
