"""What a scenario is: work of one shape, the figures that it gives, and what is wanted of them.

Knows nothing of what is measured. The modules beside it hold the scenarios, `series` measures, `report` shows.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from msgspec import Struct

from benchmarks.peers.work import Work


class Goal(Struct, frozen=True):
    """What is wanted of one figure.

    Args:
        figure: Its name: what is counted, with the unit.
        target: To be reached.
        stretch: Better still.
        is_ceiling: Whether less is better.
        limit: What stands in its way where it is missed, as a profile told; see docs/explanation/performance.md.
    """

    figure: str
    target: float
    stretch: float | None = None
    is_ceiling: bool = False
    limit: str = ""

    def is_met_by(self, value: float) -> bool:
        """Whether a figure reaches the target."""
        return value <= self.target if self.is_ceiling else value >= self.target


class Cost(Struct, frozen=True):
    """What a process used.

    Args:
        cpu_us: Microseconds of processor time for an item, all threads together.
        peak_mb: The most memory that it ever held, MiB.
    """

    cpu_us: float
    peak_mb: float


class Reading(Struct, frozen=True):
    """What was measured once.

    Args:
        figures: By name, those with a goal and others.
        costs: By process.
    """

    figures: dict[str, float]
    costs: dict[str, Cost] = {}


class Scenario(Struct, frozen=True):
    """Work of one shape.

    Args:
        name: As the goals are numbered.
        title: What is done, in a few words.
        goals: What is wanted.
        measure: Does it once, in a runtime of its own whose database lies in a folder (`None`: a temporary one).
        rounds: How often it is done, if not told otherwise.
        work: What other systems, and a bare pipe, do for comparison; its first goal's figure is compared.
    """

    name: str
    title: str
    goals: tuple[Goal, ...]
    measure: Callable[[Path | None], Awaitable[Reading]]
    rounds: int = 5
    work: Work | None = None


class Summary(Struct, frozen=True):
    """A figure over several rounds."""

    median: float
    low: float
    high: float


def summarize(readings: Sequence[Reading]) -> dict[str, Summary]:
    """Median and spread of each figure."""
    return {
        figure: Summary(statistics.median(values), min(values), max(values))
        for figure in readings[0].figures
        if (values := [reading.figures[figure] for reading in readings])
    }


def summarize_costs(readings: Sequence[Reading]) -> dict[str, Cost]:
    """The median of what each process used for an item, and the most memory that any held."""
    return {
        process: Cost(
            statistics.median(reading.costs[process].cpu_us for reading in readings),
            max(reading.costs[process].peak_mb for reading in readings),
        )
        for process in readings[0].costs
    }
