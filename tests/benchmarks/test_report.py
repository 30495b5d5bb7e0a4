"""What `make bench` prints of what was measured (`benchmarks.report`)."""

from __future__ import annotations

from pathlib import Path

from benchmarks.machine import Machine
from benchmarks.report import render
from benchmarks.scenario import Goal, Reading, Scenario
from benchmarks.series import Outcome

MACHINE = Machine(2, 24, "a processor", "3.11.7", "3.51.3", 250, 0.1)
LIMIT = "A core does no more."


async def _measure_nothing(folder: Path | None) -> Reading:
    raise AssertionError("it was measured already")


def _measured(rate: float, seconds: float) -> str:
    goals = Goal("items/s", 100, limit=LIMIT), Goal("s", 2, is_ceiling=True)
    scenario = Scenario("S0", "some work", goals, _measure_nothing)
    return render([Outcome(scenario, [Reading({"items/s": rate, "s": seconds})], {})], MACHINE)


def test_a_goal_that_is_missed_is_told_with_what_stands_in_its_way() -> None:
    assert f"- **S0**, items/s: 99 for 100. {LIMIT}" in _measured(rate=99, seconds=2)


def test_what_is_met_needs_no_reason() -> None:
    assert "why" not in _measured(rate=100, seconds=2)


def test_a_miss_without_a_known_limit_says_so() -> None:
    assert "- **S0**, s: 2.1 for 2. What the limit is here is not known." in _measured(rate=100, seconds=2.1)
