"""What was measured, as one table in Markdown: a row for each figure that has a goal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from benchmarks.machine import Machine
from benchmarks.peers.work import Work
from benchmarks.scenario import Goal, Scenario, Summary, summarize, summarize_costs
from benchmarks.series import Outcome

HEADS: Final = (
    *("", "scenario", "figure", "goal (stretch)", "measured", "low – high", "met?"),
    *("µs of CPU an item: runtime, server", "peak MiB: runtime, server", "others"),
)
METHOD: Final = """\
Medians; *low – high* is the spread over the rounds, each with a fresh runtime, warmed up as the scenario's module
says. Ours and the others ran in turn. SQLite commits with `synchronous=FULL`. µs of CPU are those of all threads of a
process. `×` is how many times as fast ours is. Others: a bare pipe between two trio processes, which only carries the
messages; peers from PyPI on SQLite, each doing the same kind of work, less of it where it is slow."""


def render(outcomes: Sequence[Outcome], machine: Machine) -> str:
    """The table, with what it takes to read it.

    Args:
        outcomes: What came of each scenario.
        machine: Where.
    """
    rows = [row for outcome in outcomes for row in _make_rows(outcome)]
    lines = [_join(HEADS), _join(["---"] * len(HEADS)), *map(_join, rows)]
    missed = [line for outcome in outcomes for line in _explain_missed(outcome)]
    reasons = ["", "## What is missed, and why", "", *missed] if missed else []
    return "\n".join(["# Measured", "", describe(machine), "", *lines, "", METHOD, *reasons, ""])


def describe(machine: Machine) -> str:
    """The machine, in a sentence."""
    return (
        f"{machine.cores} cores ({machine.processor}), {machine.memory_gb:.0f} GiB, Python {machine.python}, "
        f"SQLite {machine.sqlite}; 4 KiB are on the disk after {machine.fsync_us:,.0f} µs; load {machine.load:.1f}."
    )


def compare(outcome: Outcome) -> dict[str, float]:
    """How many times as fast ours is as each of the others."""
    goal = outcome.scenario.goals[0]
    ours = summarize(outcome.readings)[goal.figure].median
    return {
        name: other.median / ours if goal.is_ceiling else ours / other.median for name, other in outcome.others.items()
    }


def _make_rows(outcome: Outcome) -> list[list[str]]:
    scenario, summaries = outcome.scenario, summarize(outcome.readings)
    costs = summarize_costs(outcome.readings)
    ours = [costs[process] for process in ("runtime", "server") if process in costs]
    rows = [_make_row(scenario, goal, summaries[goal.figure]) for goal in scenario.goals]
    rows[0] += [
        ", ".join(_format(cost.cpu_us) for cost in ours),
        ", ".join(f"{cost.peak_mb:.0f}" for cost in ours),
        _describe_others(outcome),
    ]
    rows += [["", "", name, "", *_describe_spread(summaries[name])] for name in _find_rest(scenario, summaries)]
    return [row + [""] * (len(HEADS) - len(row)) for row in rows]


def _make_row(scenario: Scenario, goal: Goal, summary: Summary) -> list[str]:
    sign = "≤" if goal.is_ceiling else "≥"
    stretch = "" if goal.stretch is None else f" ({_format(goal.stretch)})"
    verdict = "yes" if goal.is_met_by(summary.median) else "**no**"
    wanted = f"{sign} {_format(goal.target)}{stretch}"
    is_first = goal is scenario.goals[0]
    names = [scenario.name, scenario.title] if is_first else ["", ""]
    return [*names, goal.figure, wanted, *_describe_spread(summary), verdict]


def _explain_missed(outcome: Outcome) -> Iterator[str]:
    summaries = summarize(outcome.readings)
    for goal in outcome.scenario.goals:
        median = summaries[goal.figure].median
        if not goal.is_met_by(median):
            figures = f"{goal.figure}: {_format(median)} for {_format(goal.target)}"
            reason = goal.limit or "What the limit is here is not known."
            yield f"- **{outcome.scenario.name}**, {figures}. {reason}"


def _find_rest(scenario: Scenario, summaries: dict[str, Summary]) -> list[str]:
    wanted = {goal.figure for goal in scenario.goals}
    return [name for name in summaries if name not in wanted]


def _describe_spread(summary: Summary) -> list[str]:
    return [f"{_format(summary.median)}", f"{_format(summary.low)} – {_format(summary.high)}"]


def _describe_others(outcome: Outcome) -> str:
    unit = " ms" if outcome.scenario.work == Work.ONE_RUN else "/s"
    ratios = compare(outcome)
    medians = {name: _format(other.median) for name, other in outcome.others.items()}
    return "; ".join(f"{name} {median}{unit} (×{_format(ratios[name])})" for name, median in medians.items())


def _format(value: float) -> str:
    """Three digits, and commas in long numbers."""
    if abs(value) >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def _join(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
