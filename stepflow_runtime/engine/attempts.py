"""What follows when an attempt of a step fails, or is lost: the next attempt, or the failure of the step. Pure.

`retry`, below, decides which; `run_state` is above.
"""

from __future__ import annotations

from typing import Final

from protocol.errors import ItemErrorCode
from stepflow_runtime.engine.commands import Wake
from stepflow_runtime.engine.items import ItemRecord, StepRecord
from stepflow_runtime.engine.retry import decide
from stepflow_runtime.engine.whole import Whole
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import RetryCause
from stepflow_runtime.model.outcome import Failure

LOST: Final = Failure(ItemErrorCode.UNREACHABLE, "the runtime stopped while this was executed")


def fail_attempt(state: Whole, item: ItemRecord, step: str, record: StepRecord, failure: Failure, now_ms: int) -> None:
    """The current attempt of a step has failed."""
    if item.cancelling:
        state.record(ev.StepFailed(item.index, step, record.attempt, failure))
        state.cancel_item(item)
        return
    retry = None
    if not state.is_stopping:
        retry = decide(
            failure,
            policy=state.policy,
            on_error=state.plan.steps[step].on_error,
            component_failures=record.component_failures,
            transport_failures=record.transport_failures,
            jitter_of=f"{state.spec.run_id}/{item.index}/{step}/{record.attempt}",
        )
    if retry is None:
        state.fail_step(item, step, record, failure)
    else:
        attempt_again(state, item, step, record, failure, retry.cause, now_ms + retry.delay_ms)


def displace(state: Whole, item: ItemRecord, step: str, record: StepRecord, reason: str, now_ms: int) -> None:
    """The server of the current attempt of a step gave way to another one."""
    failure = Failure(ItemErrorCode.CANCELLED, reason)
    if item.cancelling or state.is_stopping:
        fail_attempt(state, item, step, record, failure, now_ms)
    else:
        attempt_again(state, item, step, record, failure, RetryCause.RESTART, now_ms)


def repeat(state: Whole, item: ItemRecord, now_ms: int) -> None:
    """What was at work in an item when the runtime stopped goes again."""
    for step in item.at_work:
        record = item.steps[step]
        attempt_again(state, item, step, record, LOST, RetryCause.RECOVERY, max(record.due_ms, now_ms))


def attempt_again(
    state: Whole, item: ItemRecord, step: str, record: StepRecord, error: Failure, cause: RetryCause, due_ms: int
) -> None:
    """Ends the current attempt of a step; the next one begins at `due_ms`, wall time."""
    attempt = record.attempt + 1
    state.record(ev.StepRetrying(item.index, step, attempt, error, due_ms, cause))
    state.after.append(Wake(item.index, step, attempt, due_ms, cause))
