"""`python -m tests.guards [FAULT …]`: removes each guard against these faults, or all; a test must fail each time."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from tests.guards.guard import Guard
from tests.guards.table import FAULTS, GUARDS
from tests.guards.trial import Ending, Report, copy_project, run_tests, try_without

AT_ONCE: Final = 2
VERDICTS: Final = {Ending.FAILED: "bites", Ending.PASSED: "survives", Ending.BROKEN: "proves nothing"}


def main(arguments: list[str]) -> int:
    """Tries guards; returns 0 if all tests pass with the guards, and each fails without its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.guards", description=__doc__)
    parser.add_argument("fault", type=int, nargs="*", metavar="FAULT", help="its number, 1 to 43")
    faults: list[int] = parser.parse_args(arguments).fault
    if unknown := set(faults).difference(FAULTS):
        parser.error(f"there is no fault {min(unknown)}: they are {FAULTS.start} to {FAULTS.stop - 1}")
    guards = [guard for guard in GUARDS if not faults or guard.fault in faults]
    started_at, useless = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="guards-") as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        copies = list(pool.map(copy_project, (Path(folder).resolve() / f"{number}" for number in range(AT_ONCE))))
        for report in _try_with_all(guards, copies, pool):
            if report.ending is not Ending.PASSED:
                print(f"With all guards the tests must pass:\n{report.why}")
                return 1
        for guard, report in _try_without_each(guards, copies, pool):
            useless += report.ending is not Ending.FAILED
            print(_write_row(guard, report, tells=bool(faults)), flush=True)
    took = f"{len(guards)} guards in {time.monotonic() - started_at:.0f} s"
    print(f"{took}: of {useless} no test shows that they are needed." if useless else f"{took}: each has a test.")
    return bool(useless)


def _try_with_all(guards: Sequence[Guard], copies: Sequence[Path], pool: ThreadPoolExecutor) -> Iterator[Report]:
    tests = list(dict.fromkeys(guard.test for guard in guards))
    shares = [share for number in range(AT_ONCE) if (share := tests[number::AT_ONCE])]
    return pool.map(run_tests, shares, copies)


def _try_without_each(
    guards: Sequence[Guard], copies: Sequence[Path], pool: ThreadPoolExecutor
) -> Iterator[tuple[Guard, Report]]:
    free: SimpleQueue[Path] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def try_in_free_copy(guard: Guard) -> Report:
        copy = free.get()
        try:
            return try_without(guard, copy)
        finally:
            free.put(copy)

    return zip(guards, pool.map(try_in_free_copy, guards), strict=True)


def _write_row(guard: Guard, report: Report, *, tells: bool) -> str:
    """A line of the table, and beneath it why the test failed, if that is to be told."""
    test = guard.test.removeprefix("tests/")
    row = f"{guard.fault:>2}  {guard.name:<72}{report.seconds:6.1f} s  {VERDICTS[report.ending]:<15} {test}"
    why = report.why.strip().splitlines()[:12] if tells or report.ending is Ending.BROKEN else []
    return "\n".join([row, *(f"{'':8}{line}" for line in why)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
