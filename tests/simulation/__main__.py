"""`python -m tests.simulation`: replay one seed, go through many or soak for minutes on all cores, or plant defects."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, count, takewhile

from tests.simulation.faults import PLANTED, find_planted
from tests.simulation.seeds import BATCH, CHECKED, FOUND
from tests.simulation.simulate import Report, simulate


def main(arguments: list[str]) -> int:
    """Simulates; returns 0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="this one, with its trace")
    parser.add_argument("--first", type=int, help="the first seed; when soaking, one that nobody has seen")
    parser.add_argument("--count", type=int, default=len(CHECKED), help="so many seeds")
    parser.add_argument("--minutes", type=float, help="soak: as many seeds as there is time for")
    parser.add_argument("--planted", action="store_true", help="plant defects, and tell which seed finds each")
    options = parser.parse_args(arguments)
    if options.planted:
        return _find_planted()
    if options.seed is not None:
        report = simulate(options.seed)
        print(report, dict(report.counts), f"digest {report.digest:08x}")
        return bool(report.violations)
    if options.minutes is None:
        first = CHECKED.start if options.first is None else options.first
        return _report(_simulate_all(_cut_into_batches(range(first, first + options.count))))
    ends_at = time.monotonic() + options.minutes * 60
    seeds = count(time.time_ns() // 1_000_000 if options.first is None else options.first)
    batches = takewhile(lambda _: time.monotonic() < ends_at, _cut_into_batches(chain(FOUND, seeds)))
    return _report(_simulate_all(batches))


def _cut_into_batches(seeds: Iterable[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    for seed in seeds:
        batch.append(seed)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _simulate_all(batches: Iterable[list[int]]) -> Iterator[Report]:
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for batch in batches:
            yield from pool.imap_unordered(simulate, batch)


def _find_planted() -> int:
    """Looks for each planted defect; returns 0 if all are found."""
    names = [plant.__name__ for plant in PLANTED]
    missed = 0
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for name, seed in zip(names, pool.imap(find_planted, names), strict=True):
            print(f"{name}: {'NOT FOUND' if seed is None else f'seed {seed}'}", flush=True)
            missed += seed is None
    return bool(missed)


def _report(reports: Iterable[Report]) -> int:
    """Prints what was done and, of what was found, the first in full."""
    counts: Counter[str] = Counter()
    bad: list[Report] = []
    started, done = time.monotonic(), 0
    for report in reports:
        done += 1
        if sys.stderr.isatty() and done % BATCH == 0:
            print(f"\r{done:,} seeds, {len(bad)} found something ", end="", file=sys.stderr, flush=True)
        counts.update(report.counts)
        if report.violations:
            print(report if not bad else f"seed {report.seed}: {report.violations[0][:300]}", flush=True)
            bad.append(report)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    seconds = time.monotonic() - started
    print(f"{done:,} seeds in {seconds:.0f} s: {done / seconds:.0f} a second.")
    print("; ".join(f"{name}: {number:,}" for name, number in sorted(counts.items())))
    print(f"Found something: {sorted(report.seed for report in bad)}" if bad else "Nothing was found.")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
