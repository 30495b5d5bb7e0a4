"""Times and durations, as people read them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))


def parse_ms(timestamp: str) -> int:
    """A timestamp of the wire, in Unix milliseconds."""
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000)


def show_time(timestamp: str) -> str:
    """To the second, in UTC."""
    return datetime.fromisoformat(timestamp).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def show_clock(timestamp: str) -> str:
    """The time of day, to the millisecond, in UTC."""
    return datetime.fromisoformat(timestamp).astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]


def show_duration(ms: int) -> str:
    """In the two units that matter."""
    if ms < 1000:
        return f"{max(0, ms)} ms"
    if ms < 60_000:
        return f"{ms / 1000:.3g} s"
    for (large, name), (small, small_name) in pairwise(_UNITS):
        if ms >= large:
            rest = ms % large // small
            return f"{ms // large} {name} {rest} {small_name}" if rest else f"{ms // large} {name}"
    raise AssertionError(ms)


def show_age(timestamp: str, now_ms: int) -> str:
    """How long ago, or in how long, in one unit."""
    ms = now_ms - parse_ms(timestamp)
    for size, name in _UNITS:
        if abs(ms) >= size:
            count = abs(ms) // size
            return f"{count} {name} ago" if ms > 0 else f"in {count} {name}"
    return "now"
