"""The inputs that a run is about to need. Pure: it says what is missing, the shell loads it."""

from __future__ import annotations

from collections.abc import Sequence

from stepflow_runtime.ports import SEGMENT_ITEMS, InputSegment

MAX_BUFFERED: int = 4 * SEGMENT_ITEMS
"""Inputs of a run kept in memory ahead of their start, at most; more are read again when dispatch reaches them."""


class InputWindow:
    """A contiguous stretch of inputs, from the next item to start; memory follows the window, not the run."""

    __slots__ = ("_asked", "_first", "_values")

    def __init__(self, first: int = 0) -> None:
        self._first = first
        self._values: list[bytes] = []
        self._asked = -1

    @property
    def end(self) -> int:
        """The first index beyond what is here."""
        return self._first + len(self._values)

    def offer(self, segment: InputSegment) -> None:
        """Takes a segment's inputs if they continue what is here, and there is room; else they are loaded later."""
        values = split_segment(segment)
        if not self._values and segment.first_index <= self._first < segment.first_index + segment.count:
            self._values = values[self._first - segment.first_index :]
        elif segment.first_index == self.end and len(self._values) < MAX_BUFFERED:
            self._values.extend(values)
        if self._asked < self.end:
            self._asked = -1

    def read(self, first: int, end: int) -> list[bytes]:
        """The inputs from `first` on and before `end`, as far as they are here."""
        return self._values[first - self._first : end - self._first] if first >= self._first else []

    def advance(self, index: int) -> None:
        """Inputs below `index` are no longer needed."""
        gone = index - self._first
        if gone >= len(self._values):
            self._values = []
            self._first = index
        elif gone >= SEGMENT_ITEMS:
            del self._values[:gone]
            self._first = index

    def missing(self, index: int, total: int) -> int | None:
        """Which index to load next, so that starts from `index` on do not wait; each is told once."""
        end = max(self.end, index)
        if end >= total or self._asked == end or end - index >= SEGMENT_ITEMS:
            return None
        self._asked = end
        return end


def make_segments(first_index: int, inputs: Sequence[bytes]) -> list[InputSegment]:
    """Cuts inputs (raw JSON without newlines) into segments; the first begins at `first_index`."""
    return [
        InputSegment(first_index + at, len(part), b"\n".join(part))
        for at in range(0, len(inputs), SEGMENT_ITEMS)
        for part in [inputs[at : at + SEGMENT_ITEMS]]
    ]


def split_segment(segment: InputSegment) -> list[bytes]:
    """The inputs of a segment, in order."""
    return segment.data.split(b"\n") if segment.count > 1 else [segment.data]
