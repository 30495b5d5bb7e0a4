"""Worlds with faults in them for five minutes, in which clients have schedules (FAULTS 33)."""

from __future__ import annotations

import pytest

from tests.simulation import chaos, simulate, timetable
from tests.simulation.faults import forget_idempotency_keys

SEEDS = range(30)

LIFE_S = 300.0


@pytest.fixture(autouse=True)
def long_chaos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate, "SCENARIOS", [timetable.follow_schedule])
    monkeypatch.setattr(timetable, "LIFE_S", LIFE_S)
    monkeypatch.setattr(chaos, "CHAOS_S", LIFE_S)


def test_each_time_of_a_schedule_fires_once_whatever_fails() -> None:
    reports = [simulate.simulate(seed) for seed in SEEDS]
    assert not [str(report) for report in reports if report.violations]
    assert sum(report.counts["runtime dies"] for report in reports) >= len(SEEDS), "there was something to survive"
    assert sum(report.counts["times fired"] for report in reports) >= 3 * len(SEEDS)


def test_a_time_that_fires_twice_is_found() -> None:
    with forget_idempotency_keys():
        assert any(simulate.simulate(seed).violations for seed in range(100))
