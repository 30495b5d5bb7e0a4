"""How the items of a run begin: those that begin alike do so together, by one event. Pure; a part of `run_state`.

The flow is evaluated for each of the next items, as far as that goes before any step of it has ended. Items in a row
that are to begin with the same steps make a stretch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocol.runs import RunState as RunStatus
from stepflow_runtime.engine.commands import Execute
from stepflow_runtime.engine.fork import NOTHING, find_next
from stepflow_runtime.engine.items import take_resumes
from stepflow_runtime.engine.plan import Advance, Progress
from stepflow_runtime.engine.whole import Whole
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.outcome import Failure

MIN_LEAD: Final = 16
MAX_LEAD: Final = 4096
"""By how much the durable watermark of started items leads those that start, at least and at most."""

InputCheck = Callable[[bytes], Failure | None]


class Stretches:
    """Begins the items of one run.

    Args:
        state: The run.
        check_input: Tells what is wrong with an item's input, if the flow has a schema for it.
    """

    __slots__ = ("_check_input", "_lead", "_state")

    def __init__(self, state: Whole, check_input: InputCheck | None) -> None:
        self._state = state
        self._check_input = check_input
        self._lead = max(MIN_LEAD, min(state.spec.max_concurrency, MAX_LEAD))

    def begin_next(self) -> bool:
        """Begins as many of the next items as can by one common event; tells whether there were any."""
        state, facts = self._state, self._state.facts
        if state.is_stopping:
            return False
        first = facts.next_item
        steps, stretch = self._evaluate(first, self._find_end(first))
        if not stretch:
            return False
        last, attempt = first + len(stretch) - 1, facts.attempt_of_start(first)
        self._record(first, last, steps, attempt)
        is_known = attempt == 1 and last < state.durable_through  # what began must not seem never to have begun
        commands = state.now if is_known else state.after
        reuses = state.reuses
        for index, (progress, advance) in enumerate(stretch, first):
            item = facts.live.get(index)
            if item is None:  # the failure of one before it stopped the run
                break
            item.progress = progress
            if reuses:
                item.resumes = reuses.pop(index).resumes or None
            for step, value in advance.ready:
                resumes = () if item.resumes is None else take_resumes(item, step)
                commands.append(Execute(index, step, attempt, value, begins_item=True, resumes=resumes))
            if advance.failed or advance.result is not None:
                state.follow(item, Advance(failed=advance.failed, result=advance.result))
        return True

    def _find_end(self, first: int) -> int:
        """Before which item a stretch ends at the latest."""
        state, facts = self._state, self._state.facts
        end = min(first + state.free_slots, facts.progress.total)
        for bound in (state.durable_through, *facts.recoveries):
            if first < bound < end:
                end = bound
        travelling = None if facts.forked is None else find_next(facts.forked.travelling, first)
        return end if travelling is None else min(end, travelling[1] + 1)

    def _evaluate(self, first: int, end: int) -> tuple[tuple[str, ...], list[tuple[Progress, Advance]]]:
        """Up to `end`, how far the items get that begin as the first one does, and the steps with which they begin."""
        state, check = self._state, self._check_input
        plan, variables, skipped = state.plan, state.spec.variables, state.facts.skipped
        reuses = None if state.facts.forked is None else state.reuses
        stretch: list[tuple[Progress, Advance]] = []
        steps: tuple[str, ...] = ()
        common = NOTHING
        are_alike = plan.certain is not None and check is None and reuses is None
        for index, value in enumerate(state.inputs.read(first, end), first):
            reuse = NOTHING if reuses is None else reuses.get(index)
            if reuse is None or index in skipped:
                break
            if reuse is NOTHING:
                progress = Progress(plan, value, variables)
            else:
                progress = Progress.restore(plan, value, variables, reuse.outcomes)
            failure = check(value) if check is not None else None
            advance = progress.start() if failure is None else Advance(result=failure)
            begun = steps if are_alike and stretch else tuple([step for step, _ in advance.ready])
            if not stretch:
                steps, common = begun, reuse
            elif begun != steps or not (reuse is common or reuse.begins_as(common)):
                break
            stretch.append((progress, advance))
        return steps, stretch

    def _record(self, first: int, last: int, steps: tuple[str, ...], attempt: int) -> None:
        state, progress = self._state, self._state.facts.progress
        if progress.status is RunStatus.PENDING:
            state.record(ev.RunStarted())
        if progress.started_through - last <= self._lead // 2 and progress.started_through < progress.total:
            state.record(ev.WindowOpened(min(last + 1 + self._lead, progress.total)))
        state.record(ev.ItemsStarted(first, last, steps, attempt))
        reuse = state.reuses.get(first, NOTHING)
        if reuse.outcomes:
            state.record(ev.StepsReused(first, last, tuple(reuse.outcomes), reuse.acted))
