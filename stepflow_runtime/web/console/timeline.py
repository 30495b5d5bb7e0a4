"""When steps ran, as bars side by side. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Final

from msgspec import Struct

from protocol.runs import StepInfo
from stepflow_runtime.web.console.times import parse_ms, show_duration

SPAN: Final = 1000
"""The width of the whole, in units of the drawing."""

THINNEST: Final = 3
"""The width of a bar, at least: what took no time is seen, too."""


class Bar(Struct):
    """One step of one item, from `x` on, `width` wide."""

    item_index: int
    step_id: str
    status: str
    attempt: int
    x: int
    width: int
    lasted: str


class Timeline(Struct):
    """Bars in the order of their beginning, and how long all of it took."""

    bars: list[Bar]
    lasted: str


def find_times(steps: Sequence[StepInfo]) -> dict[str, str]:
    """How long each step took, by its id: the median of those that have ended."""
    lasted: defaultdict[str, list[int]] = defaultdict(list)
    for step in steps:
        if step.started_at is not None and step.completed_at is not None:
            lasted[step.step_id].append(parse_ms(step.completed_at) - parse_ms(step.started_at))
    return {step_id: show_duration(round(median(times))) for step_id, times in lasted.items()}


def lay_out(steps: Sequence[StepInfo], now_ms: int) -> Timeline:
    """The bars of steps; one that goes on ends now."""
    spans = [
        (parse_ms(step.started_at), parse_ms(step.completed_at) if step.completed_at else now_ms, step)
        for step in steps
        if step.started_at is not None
    ]
    if not spans:
        return Timeline([], "")
    spans.sort(key=lambda span: (span[0], span[2].item_index))
    first, last = spans[0][0], max(end for _, end, _ in spans)
    whole = max(1, last - first)
    bars: list[Bar] = []
    for start, end, step in spans:
        width = max(THINNEST, (end - start) * SPAN // whole)
        x = min((start - first) * SPAN // whole, SPAN - width)
        bars.append(Bar(step.item_index, step.step_id, step.status, step.attempt, x, width, show_duration(end - start)))
    return Timeline(bars, show_duration(whole))
