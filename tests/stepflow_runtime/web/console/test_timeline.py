"""Where the bars of a timeline lie."""

from __future__ import annotations

from protocol.runs import StepInfo, StepState
from stepflow_runtime.web.console.timeline import SPAN, THINNEST, find_times, lay_out


def executed(step: str, started: str, completed: str | None) -> StepInfo:
    at = "2026-01-31T08:00:0{}Z".format
    status = StepState.RUNNING if completed is None else StepState.SUCCESS
    return StepInfo(0, step, "/c", status, 1, started_at=at(started), completed_at=completed and at(completed))


NOW_MS = 1_769_846_408_000
"""2026-01-31T08:00:08Z."""


def test_bars_lie_side_by_side_and_what_goes_on_ends_now() -> None:
    timeline = lay_out([executed("b", "4", None), executed("a", "0", "2")], NOW_MS)
    assert [(bar.step_id, bar.x, bar.width) for bar in timeline.bars] == [
        ("a", 0, SPAN // 4),
        ("b", SPAN // 2, SPAN // 2),
    ]
    assert timeline.lasted == "8 s"


def test_what_took_no_time_is_seen_also_at_the_end() -> None:
    timeline = lay_out([executed("a", "0", "2"), executed("b", "2", "2")], NOW_MS)
    assert (timeline.bars[1].x, timeline.bars[1].width) == (SPAN - THINNEST, THINNEST)


def test_a_step_took_the_median_of_what_has_ended() -> None:
    steps = [executed("a", "0", "1"), executed("a", "0", "2"), executed("a", "0", "9"), executed("a", "0", None)]
    assert find_times(steps) == {"a": "2 s"}
