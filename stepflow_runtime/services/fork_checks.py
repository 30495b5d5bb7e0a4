"""What is checked before a run is forked: items, steps, and whether each item can come to where it is to go again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NoReturn

import trio
from msgspec import UNSET, Raw

from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.engine.fork import Choice, Past, find_dependants
from stepflow_runtime.engine.lineage import Generation, Lineage, find_places, read_lineage
from stepflow_runtime.engine.loading import read_inputs
from stepflow_runtime.engine.past import read_pasts
from stepflow_runtime.engine.plan import Advance, Plan, Progress
from stepflow_runtime.engine.programs import Program
from stepflow_runtime.model.events import RunForked
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import Failure, Outcome
from stepflow_runtime.model.spec import Fork, RunSpec
from stepflow_runtime.ports import SEGMENT_ITEMS, ItemRef, RunRecord, Store
from stepflow_runtime.services.suspensions import SuspensionReader

SHOWN: Final = 20
"""Items or steps that a refusal names, at most."""

ITEMS_AT_ONCE: Final = 64
"""Items that are looked at before others have their turn."""


def read_items(indexes: list[int] | None, record: RunRecord) -> Collection[int] | None:
    """The items that are meant; `None` for all.

    Raises:
        RpcError: `INVALID_PARAMS` if there are no such items.
    """
    if indexes is not None and (not indexes or max(indexes) >= record.progress.total):
        raise RpcError(
            ErrorCode.INVALID_PARAMS,
            f"itemIndexes must name items of the run, 0 to {record.progress.total - 1}",
            path="$.itemIndexes",
            runId=record.spec.run_id,
        )
    return None if indexes is None else frozenset(indexes)


def check_steps(fork: Fork, plan: Plan, run_id: RunId) -> None:
    """Refuses steps that are not there, and a context for steps that go again.

    Raises:
        RpcError: `INVALID_PARAMS`.
    """
    assert fork.step is not None
    if fork.step not in plan.steps:
        _refuse_steps([fork.step], "step", f"the flow has no step {fork.step!r}", plan, run_id)
    unknown = sorted(fork.context.keys() - plan.steps.keys())
    if unknown:
        _refuse_steps(
            unknown, "context", f"context names steps that the flow does not have: {unknown[0]!r}", plan, run_id
        )
    again = sorted(fork.context.keys() & {fork.step, *find_dependants(plan, [fork.step])})
    if again:
        message = f"context gives a result of step {again[0]!r}, which goes again: leave it out"
        _refuse_steps(again, "context", message, plan, run_id)


def _refuse_steps(steps: list[str], field: str, message: str, plan: Plan, run_id: RunId) -> NoReturn:
    raise RpcError(
        ErrorCode.INVALID_PARAMS, message, path=f"$.{field}", runId=run_id, steps=steps, available=sorted(plan.steps)
    )


async def check_travel(
    store: Store, program: Program, spec: RunSpec, forked: RunForked, origin: RunRecord, reader: SuspensionReader
) -> int:
    """Looks at every item that is to travel: whether it can come to the step. Others have their turn meanwhile.

    Args:
        store: Has what the items did.
        program: The flow.
        spec: Of the fork.
        forked: Which items travel.
        origin: The run that is forked.
        reader: Knows what a suspension can be resumed with.

    Returns:
        How many of those that travel and have ended took no action.

    Raises:
        RpcError: `CONFLICT`, with `itemIndex` and `missing`; `NOT_SUSPENDED` or `VALIDATION_FAILED` for `resumeData`.
    """
    assert spec.fork is not None
    lineage = (Generation(spec.run_id, spec.fork, forked), *await read_lineage(store, origin.spec))
    check = _TravelCheck(store, program.plan, spec, origin, reader)
    begun = {index for index, _ in forked.begun}
    idle = 0
    for first, last in forked.travelling:
        for start in range(first, last + 1, SEGMENT_ITEMS):
            indexes = range(start, min(start + SEGMENT_ITEMS, last + 1))
            idle += await check.check(lineage, await check.find_doubtful(lineage, indexes), begun)
            await trio.lowlevel.checkpoint()
    return idle


class _TravelCheck:
    """Checks the items of one travel.

    Args:
        store, plan, spec, origin, reader: As for `check_travel`.
    """

    def __init__(self, store: Store, plan: Plan, spec: RunSpec, origin: RunRecord, reader: SuspensionReader) -> None:
        assert spec.fork is not None
        self._store = store
        self._plan = plan
        self._spec = spec
        self._fork = spec.fork
        self._origin = origin
        self._reader = reader
        self._choice = Choice(plan, spec.fork)
        self._has_idle = origin.progress.no_action > 0

    async def find_doubtful(self, lineage: Lineage, indexes: Collection[int]) -> Collection[int]:
        """Those that must be looked at: not what succeeded, in a flow where that says that nothing is missing."""
        if not self._plan.is_plain or self._fork.resume_data is not UNSET or self._has_idle:
            return indexes
        places = await find_places(self._store, lineage[1:], indexes)
        return [index for index in indexes if index not in places or places[index].ref & 3 != ItemRef.SUCCESS]

    async def check(self, lineage: Lineage, indexes: Collection[int], begun: Collection[int]) -> int:
        """Checks items; returns how many of them took no action."""
        if not indexes:
            return 0
        idle, reuses = 0, dict[int, Mapping[str, Outcome]]()
        for count, (index, past) in enumerate((await read_pasts(self._store, self._plan, lineage, indexes)).items()):
            if self._fork.resume_data is not UNSET:
                self._check_resume(index, past, self._fork.resume_data)
            reused = self._choice.of(past).outcomes
            if not self._comes_surely(reused):
                reuses[index] = reused
            idle += self._has_idle and index not in begun and past.took_no_action
            if count % ITEMS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        inputs = await read_inputs(self._store, self._spec, reuses)
        for count, (index, reused) in enumerate(sorted(reuses.items())):
            self._check_item(index, reused, inputs[index])
            if count % ITEMS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        return idle

    def _check_resume(self, index: int, past: Past, data: Raw) -> None:
        run_id, step = self._origin.spec.run_id, self._fork.step
        suspended = past.suspended.get(step or "")
        if suspended is None:
            message = f"step {step!r} of item {index} was never suspended in run {run_id}: resumeData has no use there"
            raise RpcError(ErrorCode.NOT_SUSPENDED, message, runId=run_id, itemIndex=index, available=[])
        self._reader.check_data(suspended, bytes(data), self._origin)

    def _comes_surely(self, reused: Mapping[str, Outcome]) -> bool:
        """Whether nothing can be missing: there is all that the step may look at, and nothing has failed."""
        assert self._fork.step is not None
        has_all = all(step in reused for step in self._plan.steps[self._fork.step].references)
        return has_all and not any(type(outcome) is Failure for outcome in reused.values())

    def _check_item(self, index: int, reused: Mapping[str, Outcome], value: bytes) -> None:
        step, run_id = self._fork.step, self._origin.spec.run_id
        assert step is not None
        progress = Progress.restore(self._plan, value, self._spec.variables, reused)
        advance = progress.start()
        if any(ready == step for ready, _ in advance.ready):
            return
        missing = _find_missing(progress, advance, step, reused)
        if missing:
            names = ", ".join(map(repr, missing[:SHOWN]))
            needs = f"item {index} of run {run_id} has no result of {names}, which it needs before it comes to {step!r}"
            hint = "travel to an earlier step, give it in `context`, or leave the item out"
            raise conflict(run_id, f"{needs}: {hint}", itemIndex=index, missing=missing[:SHOWN])


def _find_missing(progress: Progress, advance: Advance, step: str, reused: Mapping[str, Outcome]) -> list[str]:
    """The steps without which an item does not come to `step`; none if it does not need that either."""
    outcomes, references = progress.outcomes, progress.plan.steps[step].references
    failed = [needed for needed in references if isinstance(outcomes.get(needed), Failure)]
    if failed:
        return failed
    if progress.demands(step) and step not in outcomes:
        return [needed for needed in references if needed not in outcomes]
    if isinstance(advance.result, Failure):  # another step failed, and that is re-used
        return [other for other, outcome in reused.items() if isinstance(outcome, Failure)]
    return []


def conflict(run_id: RunId, message: str, **data: object) -> RpcError:
    """`-32014`, about a run."""
    return RpcError(ErrorCode.CONFLICT, message, runId=run_id, **data)
