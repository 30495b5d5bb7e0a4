"""A thousand worlds with faults in them, in which nothing is lost; and that they would show it if there were."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

import pytest

from tests.simulation.faults import PLANTED
from tests.simulation.seeds import CHECKED, FOUND
from tests.simulation.simulate import simulate

TIMEOUT_S: Final = 280


@pytest.mark.parametrize("seed", FOUND)
def test_a_seed_that_found_something_finds_nothing_any_more(seed: int) -> None:
    report = simulate(seed)
    assert not report.violations, str(report)


def test_nothing_is_lost_and_nothing_is_done_twice_whatever_fails() -> None:
    run_on_all_cores("--first", str(CHECKED.start), "--count", str(len(CHECKED)))


def test_every_planted_defect_is_found() -> None:
    told = run_on_all_cores("--planted")
    assert told.count(": seed ") == len(PLANTED)


def run_on_all_cores(*options: str) -> str:
    """What `python -m tests.simulation` prints; it must find everything in order."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}  # what is measured is slow
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *options],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_seed_decides_everything() -> None:
    assert [simulate(seed).digest for seed in range(5)] == [simulate(seed).digest for seed in range(5)]
