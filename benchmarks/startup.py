"""From the start of `stepflow serve` to its first result. Nothing is warm but the disk's cache."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from benchmarks.bench import one_step, start_runtime
from benchmarks.scenario import Goal, Reading, Scenario
from component_sdk import open_client

IMPORTS: Final = (
    "Imports: some 0.2 s before component servers may start, and as much in them while the runtime imports the rest. "
    "On either side trio is a third."
)


async def measure_start(folder: Path | None) -> Reading:
    """Seconds from starting the process until a client, which dials until somebody answers, has the first result."""
    started_at = time.perf_counter()
    with start_runtime(folder) as runtime:
        await runtime.wait_until_up()
        up_s = time.perf_counter() - started_at
        async with open_client(runtime.address) as client:
            await client.submit_run(flow=one_step("double"), inputs=[{"n": 0}], wait=True)
            seconds = time.perf_counter() - started_at
    return Reading({"s": seconds, "s until it listens": up_s})


SCENARIOS: Final = (
    Scenario(
        "S6", "`serve` to its first result", (Goal("s", 0.40, is_ceiling=True, limit=IMPORTS),), measure_start, rounds=9
    ),
)
