"""What a fork re-uses of the run that it was forked from, and which of its items go again. Pure.

A fork journals no result of another run. What an item of it re-uses follows from what the item did there, which never
changes any more (`past` reads it), and from the rules here; so another runtime finds the same again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Set
from typing import Final

from msgspec import UNSET, Struct

from stepflow_runtime.engine.plan import Plan
from stepflow_runtime.model.events import StepSuspended, Stretches
from stepflow_runtime.model.outcome import Failure, Outcome, Resume
from stepflow_runtime.model.spec import Fork


class PastStep(Struct, frozen=True):
    """A step that has ended.

    Args:
        outcome: Its output; of one that failed, its default, or why it failed.
        attempt: With which it ended; 0 if it was never executed.
        succeeded: Whether the output is its own.
        acted: Whether it did something, see `StepIdled`.
    """

    outcome: Outcome
    attempt: int
    succeeded: bool = True
    acted: bool = True


class Past(Struct):
    """What an item did in one run.

    Attributes:
        steps: Those that have ended.
        begun: Those that have begun.
        suspended: How each step was suspended last.
        resumes: What each step was resumed with, in order.
        reused: Names of steps whose outcomes were from elsewhere.
    """

    steps: dict[str, PastStep] = {}
    begun: set[str] = set()
    suspended: dict[str, StepSuspended] = {}
    resumes: dict[str, list[Resume]] = {}
    reused: tuple[str, ...] = ()

    @property
    def took_no_action(self) -> bool:
        """Whether it began steps, and none of them did anything."""
        return bool(self.steps) and self.begun <= self.steps.keys() and not any(s.acted for s in self.steps.values())


class Reuse(Struct, frozen=True):
    """What an item begins with.

    Args:
        outcomes: Of the steps that are not executed again.
        acted: How many of them did something.
        resumes: What steps begin with as if they had been resumed with it.
    """

    outcomes: Mapping[str, Outcome] = {}
    acted: int = 0
    resumes: Mapping[str, tuple[Resume, ...]] = {}

    def begins_as(self, other: Reuse) -> bool:
        """Whether the same steps are not executed again, and as many of them did something."""
        return self.acted == other.acted and tuple(self.outcomes) == tuple(other.outcomes)


NOTHING: Final = Reuse()


def find_dependants(plan: Plan, steps: Iterable[str]) -> set[str]:
    """The steps that may look at one of these, or at one that may, and so on."""
    found: set[str] = set()
    todo = list(steps)
    while todo:
        for dependant in plan.steps[todo.pop()].dependents:
            if dependant not in found:
                found.add(dependant)
                todo.append(dependant)
    return found


class Choice:
    """Chooses what items that go again re-use: every recorded step that is neither meant nor depends on one that is.

    Args:
        plan: Of the run.
        fork: What is meant.
    """

    def __init__(self, plan: Plan, fork: Fork) -> None:
        self._plan = plan
        self._fork = fork
        self._again: dict[tuple[frozenset[str], frozenset[str]], Set[str]] = {}
        """What is not re-used, by what is meant and what is given: of many items it is the same."""

    def of(self, past: Past) -> Reuse:
        """What an item with this past re-uses."""
        plan, fork = self._plan, self._fork
        supplied = {step: bytes(value) for step, value in fork.context.items() if _lacks_output(past, step)}
        if fork.step is not None:
            meant = {fork.step}
        else:
            meant = {step for step, ended in past.steps.items() if not ended.succeeded}
        again = self._find_again(meant, supplied)
        outcomes: dict[str, Outcome] = {}
        acted = 0
        for step, ended in past.steps.items():
            if step not in again and step in plan.steps:
                outcomes[step] = ended.outcome
                acted += ended.acted
        acted += len(supplied.keys() - outcomes.keys())
        return Reuse({**outcomes, **supplied}, acted, _choose_resumes(fork, past))

    def _find_again(self, meant: Set[str], supplied: Collection[str]) -> Set[str]:
        key = frozenset(meant), frozenset(supplied)
        if key not in self._again:
            self._again[key] = meant | find_dependants(self._plan, (*meant, *supplied))
        return self._again[key]


def _lacks_output(past: Past, step: str) -> bool:
    ended = past.steps.get(step)
    return ended is None or isinstance(ended.outcome, Failure)


def _choose_resumes(fork: Fork, past: Past) -> dict[str, tuple[Resume, ...]]:
    """All that the step was resumed with until its last suspension, and what it is to be resumed with there."""
    if fork.step is None or fork.resume_data is UNSET or fork.step not in past.suspended:
        return {}
    label = past.suspended[fork.step].label
    before = [resume for resume in past.resumes.get(fork.step, ()) if resume.label != label]
    return {fork.step: (*before, Resume(label, bytes(fork.resume_data)))}


# --- stretches of whole numbers ---


def make_stretches(numbers: Iterable[int]) -> Stretches:
    """Numbers in ascending order, those that follow on each other together."""
    stretches: list[tuple[int, int]] = []
    for number in numbers:
        if stretches and stretches[-1][1] + 1 == number:
            stretches[-1] = (stretches[-1][0], number)
        else:
            stretches.append((number, number))
    return tuple(stretches)


def holds(stretches: Stretches, number: int) -> bool:
    """Whether a number is in one of the stretches."""
    at = bisect_right(stretches, number, key=lambda stretch: stretch[0])
    return at > 0 and number <= stretches[at - 1][1]


def find_next(stretches: Stretches, number: int) -> tuple[int, int] | None:
    """What is left from a number on of the stretch that holds it, or the next one; `None` behind the last."""
    at = bisect_right(stretches, number, key=lambda stretch: stretch[0])
    if at > 0 and number <= stretches[at - 1][1]:
        return number, stretches[at - 1][1]
    return stretches[at] if at < len(stretches) else None


def count(stretches: Stretches) -> int:
    """How many numbers there are."""
    return sum(last - first + 1 for first, last in stretches)


def clip(stretches: Stretches, first: int, last: int) -> list[tuple[int, int]]:
    """What of the stretches lies from `first` to `last` inclusive."""
    clipped: list[tuple[int, int]] = []
    while (stretch := find_next(stretches, first)) is not None and stretch[0] <= last:
        clipped.append((stretch[0], min(stretch[1], last)))
        first = stretch[1] + 1
    return clipped


def find_nth_gap(stretches: Stretches, ordinal: int) -> int:
    """The number with this ordinal, from 0, among those that are in no stretch."""
    number = ordinal
    for first, last in stretches:
        if first > number:
            break
        number += last - first + 1
    return number


def count_below(stretches: Stretches, number: int) -> int:
    """How many numbers of the stretches are below one."""
    return sum(min(last + 1, number) - first for first, last in stretches if first < number)
