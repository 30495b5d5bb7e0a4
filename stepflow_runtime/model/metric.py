"""What a measurement is, as Prometheus understands it: counters and gauges, and histograms, which count by size.

Names are its conventions: `stepflow_` before, base units (`_seconds`, `_bytes`), `_total` behind what only grows. Pure:
who counts decides when, `app/metrics` knows all that there are, and `web/metrics` writes them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import accumulate

from msgspec import Struct


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(Struct, frozen=True):
    """One thing that is measured.

    Args:
        name: Under which it is found.
        kind: How its values go on.
        help: What it says, a sentence.
        labels: What tells its series apart.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


class Histogram:
    """How many of what was observed were how large.

    Args:
        bounds: The upper, inclusive bounds of its buckets, ascending; what is larger has one of its own.
    """

    __slots__ = ("_counts", "bounds", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.sum = 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float, count: int = 1) -> None:
        """So many of them were that large."""
        self._counts[bisect_left(self.bounds, value)] += count
        self.sum += value * count

    @property
    def count(self) -> int:
        """How many were observed."""
        return sum(self._counts)

    def buckets(self) -> Iterator[tuple[float, int]]:
        """Each bound, infinity last, and how many were not above it."""
        return zip((*self.bounds, float("inf")), accumulate(self._counts), strict=True)


Sample = tuple[tuple[str, ...], float | Histogram]
"""The values of a metric's labels, in their order, and what was measured of these."""
