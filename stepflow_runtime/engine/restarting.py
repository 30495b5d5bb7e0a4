"""Somebody wants the active steps of a live run to go again: from their top, now, as the next attempt. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from protocol.errors import ItemErrorCode
from stepflow_runtime.engine.attempts import attempt_again
from stepflow_runtime.engine.commands import Abort
from stepflow_runtime.engine.run_state import RunState
from stepflow_runtime.model.events import RetryCause, StepsRestarted
from stepflow_runtime.model.outcome import Failure

RESTARTED: Final = Failure(ItemErrorCode.CANCELLED, "restarted on request")


def restart_steps(
    state: RunState, items: Collection[int] | None, now_ms: int, request: StepsRestarted | None = None
) -> None:
    """Has what is at work in items (all by default) go again, and what waits to be tried again go at once.

    What is suspended, or sleeps, goes on to do so; what waits for its turn after an unclean stop goes when it comes.

    Args:
        state: The run.
        items: Those that are meant.
        now_ms: Wall time.
        request: Under which id this was asked for, so that it is known again.
    """
    if state.is_stopping:
        return
    if request is not None:
        state.record(request)
    for item in list(state.facts.live.values()):
        if item.cancelling or item.held or item.progress is None or (items is not None and item.index not in items):
            continue
        for step in item.at_work:
            record = item.steps[step]
            if record.execution is not None:
                state.after.append(Abort(record.execution))
                record.execution = None
            attempt_again(state, item, step, record, RESTARTED, RetryCause.RESTART, now_ms)
