"""Whether S1d and S2 got slower: what they cost as a multiple of what a bare pipe, and bare SQLite, cost beside them.

    python -m benchmarks.guard           measures, and says whether that is as expected
    python -m benchmarks.guard --write   keeps what it measures as what is expected, in guard.json: on a quiet machine

Seconds would tell one machine from another, and a busy one from an idle one; multiples hardly do. Work and yardstick
take turns, a few hundredths of a second each, so both meet the same neighbours. Of S1d processor time counts, the
median of the rounds; of S2, how long a run takes that nobody disturbs: the fifth percentile, against a call over a
pipe and a commit. The database lies in memory where there is such a disk: what a disk costs is not asked here.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import apsw
import trio

from benchmarks.bench import Bench, find_children, one_step, open_bench
from benchmarks.fanout import run_all
from benchmarks.latency import submit_in_turn
from benchmarks.peers.pipe import WINDOW, Pipe, open_pipe

EXPECTED: Final = Path(__file__).with_name("guard.json")
MEMORY_DISK: Final = Path("/dev/shm")
TOLERANCE: Final = 1.2
"""Between the noise, a tenth, and what must not pass, three tenths."""
TRIES: Final = 3
"""Noise passes, and what got slower stays slower: only what is too slow every time is."""
ROUNDS: Final = 30
WARM_UP_ROUNDS: Final = 2
ITEMS: Final = 1500
BURSTS: Final = 6
RUNS: Final = 40
COMMITS: Final = 60

Multiples = dict[str, float]


async def measure_multiples(rounds: int = ROUNDS) -> Multiples:
    """What an item of S1d costs the runtime and the component server, and how long a run of S2 takes, in yardsticks.

    Args:
        rounds: In each of which everything is done once.
    """
    folder = MEMORY_DISK if MEMORY_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(dir=folder) as place:
        database = _open_database(Path(place, "bare.db"))
        async with open_bench(folder) as bench, open_pipe() as pipe:
            await _measure_rounds(bench, pipe, database, WARM_UP_ROUNDS)
            return await _measure_rounds(bench, pipe, database, rounds)


async def _measure_rounds(bench: Bench, pipe: Pipe, database: apsw.Connection, rounds: int) -> Multiples:
    (server_pid,) = find_children(bench.runtime_pid)
    runtime: list[float] = []
    server: list[float] = []
    runs_ms: list[float] = []
    bare_ms: list[float] = []
    for _ in range(rounds):
        bare_ns = sum(await _measure_cpu(lambda: _call_in_bursts(pipe), os.getpid(), pipe.child_pid))
        runtime_ns, server_ns = await _measure_cpu(lambda: _fan_out(bench), bench.runtime_pid, server_pid)
        runtime.append(runtime_ns / bare_ns)
        server.append(server_ns / bare_ns)
        bare_ms += [await _call_and_commit(pipe, database) for _ in range(COMMITS)]
        runs_ms += await submit_in_turn(bench.client, RUNS)
    return {
        "S1d runtime": round(statistics.median(runtime), 2),
        "S1d server": round(statistics.median(server), 2),
        "S2": round(_find_undisturbed(runs_ms) / _find_undisturbed(bare_ms), 2),
    }


def find_slower(measured: Mapping[str, float], expected: Mapping[str, float]) -> list[str]:
    """A sentence for each multiple that is beyond what noise explains.

    Args:
        measured: By name.
        expected: By the same names.
    """
    return [
        f"{name} costs {measured[name]:g} yardsticks and should cost {wanted:g}: {measured[name] / wanted:.0%}."
        for name, wanted in expected.items()
        if measured[name] > wanted * TOLERANCE
    ]


async def _fan_out(bench: Bench) -> None:
    await run_all(bench.client, one_step("double"), ({"n": n} for n in range(ITEMS)))


async def _call_in_bursts(pipe: Pipe) -> None:
    for _ in range(BURSTS):
        await pipe.call(list(range(WINDOW)))


async def _call_and_commit(pipe: Pipe, database: apsw.Connection) -> float:
    """Milliseconds of one call and one commit."""
    started_at = time.perf_counter()
    await pipe.call([0])
    database.execute("insert into rows (body) values (?)", (bytes(500),))
    return (time.perf_counter() - started_at) * 1000


def _open_database(path: Path) -> apsw.Connection:
    database = apsw.Connection(str(path))
    database.execute("pragma journal_mode = wal; pragma synchronous = full; create table rows (body)").fetchall()
    return database


async def _measure_cpu(work: Callable[[], Awaitable[None]], *pids: int) -> list[int]:
    before_ns = [_read_cpu_ns(pid) for pid in pids]
    await work()
    return [_read_cpu_ns(pid) - before for pid, before in zip(pids, before_ns, strict=True)]


def _read_cpu_ns(pid: int) -> int:
    """Nanoseconds that all threads of a process have run."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


def _find_undisturbed(times_ms: list[float]) -> float:
    return statistics.quantiles(times_ms, n=20)[0]


def main(arguments: list[str]) -> int:
    """Measures, and judges or writes.

    Args:
        arguments: `--write` keeps what was measured as what is expected.

    Returns:
        The exit code: 1 if something got slower.
    """
    if "--write" in arguments:
        tries = [trio.run(measure_multiples) for _ in range(TRIES)]
        medians = {name: statistics.median(one[name] for one in tries) for name in tries[0]}
        EXPECTED.write_text(json.dumps(medians, indent=2) + "\n")
    expected: Multiples = json.loads(EXPECTED.read_text())
    slower: list[str] = []
    for _ in range(TRIES):
        measured = trio.run(measure_multiples)
        print(json.dumps(measured), flush=True)
        slower = find_slower(measured, expected)
        if not slower:
            break
    print("\n".join(slower) or "S1d and S2 are as fast as expected.")
    return bool(slower)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
