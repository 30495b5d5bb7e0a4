"""The main job, measured: many items, one step, a Python component in another process, every result durable.

    python -m benchmarks.fanout                       10,000 items, the median of 3 runtimes
    python -m benchmarks.fanout --items 1000000
    python -m benchmarks.fanout --memory              peak memory at 10,000, 100,000 and 1,000,000 items

The client sends the inputs in chunks over TCP, and the first of them start while the last are on their way. The clock
stops when the client is told that the run has ended. SQLite commits with `synchronous=FULL`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import trio
from msgspec import Struct

from benchmarks.bench import Usage, one_step, open_bench


class Measurement(Struct, frozen=True):
    """One run, from its submission to the answer that it has ended.

    Args:
        items: How many.
        seconds: How long it took.
        items_per_s: The quotient.
        runtime_us: Microseconds of processor time of the runtime for an item, all threads together.
        server_us: The same of the component server.
        runtime_mb: Peak memory of the runtime, MiB.
        server_mb: The same of the component server.
    """

    items: int
    seconds: float
    items_per_s: float
    runtime_us: float
    server_us: float
    runtime_mb: float
    server_mb: float


async def measure(items: int, max_concurrency: int, folder: Path | None) -> Measurement:
    """Measures one run in a fresh runtime.

    Args:
        items: How many.
        max_concurrency: How many of them execute at once.
        folder: Where the database lies; default, a temporary folder.

    Raises:
        RuntimeError: A result is missing or wrong.
    """
    async with open_bench(folder) as bench:
        before = bench.read_usage()
        started_at = time.perf_counter()
        run = await bench.client.start(
            one_step("double"), inputs=({"n": n} for n in range(items)), max_concurrency=max_concurrency
        )
        status = await run.wait()
        seconds = time.perf_counter() - started_at
        after = bench.read_usage()
        if status.items.success != items:
            raise RuntimeError(f"{status.items.success} of {items} items succeeded: {status}")
    return Measurement(
        items=items,
        seconds=round(seconds, 4),
        items_per_s=round(items / seconds),
        runtime_us=_per_item(before[0], after[0], items),
        server_us=_per_item(before[1], after[1], items),
        runtime_mb=round(after[0].peak_mb, 1),
        server_mb=round(after[1].peak_mb, 1),
    )


def take_median(measurements: Sequence[Measurement]) -> Measurement:
    """The measurement whose rate is the median of them all."""
    median = statistics.median_low(measurement.items_per_s for measurement in measurements)
    return next(measurement for measurement in measurements if measurement.items_per_s == median)


def _per_item(before: Usage, after: Usage, items: int) -> float:
    return round((after.cpu_s - before.cpu_s) / items * 1e6, 1)


def main(arguments: Sequence[str]) -> None:
    """Measures and prints.

    Args:
        arguments: The command line.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3, help="each with a fresh runtime; the median counts")
    parser.add_argument("--max-concurrency", type=int, default=1000)
    parser.add_argument("--memory", action="store_true", help="peak memory for runs of different length")
    parser.add_argument("--folder", type=Path, help="where the database lies; default, the folder for temporary files")
    parser.add_argument("--json", action="store_true", help="print each figure as JSON, one line a size")
    options = parser.parse_args(arguments)
    sizes = (10_000, 100_000, 1_000_000) if options.memory else (options.items,)
    rounds = 1 if options.memory else options.rounds
    if not options.json:
        print(f"{'items':>9} {'items/s':>9} {'runtime':>19} {'component server':>19}")
    for items in sizes:
        one = take_median([trio.run(measure, items, options.max_concurrency, options.folder) for _ in range(rounds)])
        if options.json:
            print(json.dumps(msgspec.to_builtins(one)), flush=True)
        else:
            print(
                f"{one.items:9,} {one.items_per_s:9,.0f}"
                f" {one.runtime_us:6.1f} µs {one.runtime_mb:5.0f} MiB {one.server_us:6.1f} µs {one.server_mb:5.0f} MiB",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
