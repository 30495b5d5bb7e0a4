"""Worlds with faults in them, in which clients have jobs."""

from __future__ import annotations

import pytest

from tests.simulation import simulate
from tests.simulation.jobs import follow_job

SEEDS = (*range(40), 161, 342)
"""In the last two a slow write of a job's cancellation came after that of its end, and undid it."""


def test_a_job_does_what_it_promises_whatever_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate, "SCENARIOS", [follow_job])
    reports = [simulate.simulate(seed) for seed in SEEDS]
    assert not [str(report) for report in reports if report.violations]
    assert sum(report.counts["runtime dies"] for report in reports) >= len(SEEDS), "there was something to survive"
