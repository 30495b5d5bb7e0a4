"""DBOS at work, in its own environment: `python -m benchmarks.peers.dbos_driver WORK FOLDER` prints one number.

A workflow is a run, a step of it one item's step; the steps of a fan-out are gathered in one workflow, which suits it
better than a workflow for each item. It has no processes of its own: components run within the caller's.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

from dbos import DBOS, DBOSConfig

from benchmarks.peers.work import Work

ITEMS = 1000
RUNS = 100
CHAINS = 100
STEPS = 10
PARENTS = 20
CHILDREN = 10


async def _double(n: int) -> int:
    return n * 2


double = DBOS.step(name="double")(_double)


async def _fan_out(items: int) -> int:
    return sum(await asyncio.gather(*(double(n) for n in range(items))))


async def _chain(n: int) -> int:
    for _ in range(STEPS):
        n = await double(n)
    return n


async def _child(n: int) -> int:
    return int(await double(n))


async def _parent(children: int) -> int:
    handles = [await DBOS.start_workflow_async(child, n) for n in range(children)]
    return sum([await handle.get_result() for handle in handles])


fan_out = DBOS.workflow(name="fan_out")(_fan_out)
chain = DBOS.workflow(name="chain")(_chain)
child = DBOS.workflow(name="child")(_child)
parent = DBOS.workflow(name="parent")(_parent)


async def measure(work: Work) -> float:
    """Does it once small, to warm up, and once to be measured."""
    match work:
        case Work.FAN_OUT:
            await fan_out(100)
            started_at = time.perf_counter()
            await fan_out(ITEMS)
            return ITEMS / (time.perf_counter() - started_at)
        case Work.ONE_RUN:
            times_ms = [await _time_run(n) for n in range(RUNS)]
            return statistics.median(times_ms[RUNS // 10 :])
        case Work.CHAIN:
            await asyncio.gather(*(chain(n) for n in range(CHAINS // 10)))
            started_at = time.perf_counter()
            await asyncio.gather(*(chain(n) for n in range(CHAINS)))
            return CHAINS * STEPS / (time.perf_counter() - started_at)
        case Work.NESTED:
            await asyncio.gather(*(parent(CHILDREN) for _ in range(PARENTS // 10)))
            started_at = time.perf_counter()
            await asyncio.gather(*(parent(CHILDREN) for _ in range(PARENTS)))
            return PARENTS / (time.perf_counter() - started_at)


async def _time_run(n: int) -> float:
    started_at = time.perf_counter()
    await child(n)
    return (time.perf_counter() - started_at) * 1000


def main(work: Work, folder: str) -> None:
    """Measures, and prints the number last.

    Args:
        work: What is to be done.
        folder: Where its database lies.
    """
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": f"sqlite:///{folder}/dbos.sqlite",
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    value = asyncio.run(measure(work))
    DBOS.destroy()
    print(value, end="")


if __name__ == "__main__":
    main(Work(sys.argv[1]), sys.argv[2])
