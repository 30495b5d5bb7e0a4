"""Items of a megabyte, in and out of a component: one string, or a structure of many small parts.

The clock stops when the client is told that the run has ended; the rate with the results fetched too stands beside it,
and the rate at which SQLite alone stores as much: an input and a result an item. Each round has a fresh runtime, warmed
up with 4 items.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from benchmarks.bench import Bench, Meter, one_step, open_bench
from benchmarks.fanout import run_all
from benchmarks.scenario import Goal, Reading, Scenario

RATE: Final = "items/s"
WARM_UP_ITEMS: Final = 4
ITEMS_A_COMMIT: Final = 10
DISK: Final = (
    "Each value is written to the write-ahead log and copied from there, four megabytes an item: SQLite alone, with "
    "nothing around it, stores as much at the rate that stands beside it."
)
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
        figures = {
            RATE: items / seconds,
            "items/s, results fetched": items / meter.seconds,
            "items/s, SQLite alone": _time_sqlite(msgspec.json.encode(value), items, folder),
        }
        return Reading(figures, costs)


async def _fetch_results(bench: Bench, run_id: str, items: int) -> None:
    count = 0
    async for _ in bench.client.get_run(run_id).results():
        count += 1
    if count != items:
        raise RuntimeError(f"{count} results came of {items}.")


def _time_sqlite(content: bytes, items: int, folder: Path | None) -> float:
    """Items a second, each two rows of this content, a few in a commit; the WAL is copied away as it grows.

    Durable as the runtime's own, and with nothing around it.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="stepflow-bench-") as place:
        database = apsw.Connection(f"{place}/rows.db")
        database.pragma("journal_mode", "wal")
        database.pragma("synchronous", "full")
        database.pragma("wal_autocheckpoint", 2000)
        database.execute("CREATE TABLE contents (content BLOB)")
        started_at = time.perf_counter()
        for _ in range(0, items, ITEMS_A_COMMIT):
            with database:
                database.executemany("INSERT INTO contents VALUES (?)", [(content,)] * (2 * ITEMS_A_COMMIT))
        seconds = time.perf_counter() - started_at
        database.close()
    return items / seconds


SCENARIOS: Final = (
    Scenario(
        "S5", "strings of 1 MB", (Goal(RATE, 300, limit=DISK),), partial(measure_payload, make_string(), 200), rounds=3
    ),
    Scenario(
        "S5s",
        "structures of 1 MB",
        (Goal(RATE, 60, limit=DISK),),
        partial(measure_payload, make_structure(), 50),
        rounds=3,
    ),
)
