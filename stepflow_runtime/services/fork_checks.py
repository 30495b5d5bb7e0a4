"""What is checked before a run is forked: items, steps, and whether each item can come to where it is to go again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NoReturn

from msgspec import UNSET

from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.engine.fork import Past, choose, find_dependants
from stepflow_runtime.engine.plan import Advance, Plan, Progress
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import Failure, Outcome
from stepflow_runtime.model.spec import Fork, RunSpec
from stepflow_runtime.ports import RunRecord
from stepflow_runtime.services.suspensions import check_data

SHOWN: Final = 20
"""Items or steps that a refusal names, at most."""


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


def check_item(index: int, past: Past, fork: Fork, plan: Plan, spec: RunSpec, value: bytes, origin: RunRecord) -> None:
    """Refuses a travel in which an item could not execute the step although it comes to it.

    Raises:
        RpcError: `CONFLICT`, with `itemIndex` and `missing`; `NOT_SUSPENDED` or `VALIDATION_FAILED` for `resumeData`.
    """
    step, run_id = fork.step, origin.spec.run_id
    assert step is not None
    if fork.resume_data is not UNSET:
        suspended = past.suspended.get(step)
        if suspended is None:
            message = f"step {step!r} of item {index} was never suspended in run {run_id}: resumeData has no use there"
            raise RpcError(ErrorCode.NOT_SUSPENDED, message, runId=run_id, itemIndex=index, available=[])
        check_data(suspended, bytes(fork.resume_data), origin)
    reused = choose(plan, fork, past).outcomes
    progress = Progress.restore(plan, value, spec.variables, reused)
    advance = progress.start()
    if any(ready == step for ready, _ in advance.ready):
        return
    missing = _find_missing(progress, advance, step, reused)
    if missing:
        names = ", ".join(map(repr, missing[:SHOWN]))
        message = f"item {index} of run {run_id} has no result of {names}, which it needs before it comes to {step!r}"
        hint = "travel to an earlier step, give it in `context`, or leave the item out"
        raise conflict(run_id, f"{message}: {hint}", itemIndex=index, missing=missing[:SHOWN])


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
