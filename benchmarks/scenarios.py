"""Other shapes of work, measured on one runtime: `python -m benchmarks.scenarios`.

One small item at a time (what a person waits for), many steps in a row, and components that wait.
"""

from __future__ import annotations

import statistics
import time

import trio

from benchmarks.bench import one_step, open_bench, steps_in_a_row
from component_sdk import Client


async def measure_one_item(client: Client, rounds: int = 500) -> str:
    """From submitting one item, awaited, to its result."""
    flow_id = await client.put_blob(one_step("double"), "flow")
    times_ms: list[float] = []
    for n in range(rounds):
        started_at = time.perf_counter()
        await client.submit_run(flow_id, [{"n": n}], wait=True)
        times_ms.append((time.perf_counter() - started_at) * 1000)
    cuts = statistics.quantiles(times_ms, n=100)
    return f"{statistics.median(times_ms):.2f} ms (p99 {cuts[98]:.2f} ms)"


async def measure_steps_in_a_row(client: Client, items: int = 1000, steps: int = 10) -> str:
    """Steps a second of a flow in which each needs the one before."""
    seconds = await _time_run(client, steps_in_a_row("double", steps), [{"n": n} for n in range(items)])
    return f"{items * steps / seconds:,.0f} steps/s"


async def measure_waiting(client: Client, items: int = 1000, ms: int = 100) -> str:
    """How long many items take that wait and do nothing else."""
    seconds = await _time_run(client, one_step("sleep"), [{"ms": ms}] * items)
    return f"{seconds:.2f} s"


async def _time_run(client: Client, flow: dict[str, object], inputs: list[dict[str, int]]) -> float:
    started_at = time.perf_counter()
    status = await client.submit_run(flow=flow, inputs=inputs, wait=True)
    seconds = time.perf_counter() - started_at
    if status.items.success != len(inputs):
        raise RuntimeError(f"{status.items.success} of {len(inputs)} items succeeded: {status}")
    return seconds


async def main() -> None:
    """Measures and prints."""
    async with open_bench() as bench:
        print(f"one item, awaited                {await measure_one_item(bench.client)}", flush=True)
        print(f"1,000 items of 10 steps in a row {await measure_steps_in_a_row(bench.client)}", flush=True)
        print(f"1,000 items that wait 100 ms     {await measure_waiting(bench.client)}", flush=True)


if __name__ == "__main__":
    trio.run(main)
