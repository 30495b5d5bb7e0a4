"""What happened in one simulation: lines with their simulated time, counts, and what should not have happened."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Final
from zlib import crc32

import trio

KEPT_LINES: Final = 120


class Trace:
    """The record of one seed.

    Attributes:
        lines: The last of what happened.
        counts: How often what happened.
        violations: What must not happen and did.
        digest: Of all lines: two replays of a seed have the same.

    Args:
        stop: Called at the first violation: what led to it is in the last lines then.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.digest = 0

    def note(self, kind: str, text: str = "") -> None:
        """Something happened."""
        self.counts[kind] += 1
        line = f"{trio.current_time():10.4f} {kind} {text}"
        self.digest = crc32(line.encode(), self.digest)
        self.lines.append(line)

    def violate(self, text: str) -> None:
        """Something happened that must not."""
        self.note("VIOLATION", text)
        self.violations.append(text)
        self._stop()
