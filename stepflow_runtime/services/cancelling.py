"""Asking a run or some of its items to end, waiting until they have, and telling what came of it (PROTOCOL §4).

Of an end and a cancellation that meet, the first to be recorded wins, and everybody who asked is told the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol.handling import parked
from protocol.runs import CancelOutcome, RunState
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.ports import ItemRef, Store, WatchFor
from stepflow_runtime.services.results import find_ends


async def cancel_run(
    executor: Executor, store: Store, run_id: RunId, reason: str | None, grace_s: float
) -> CancelOutcome:
    """Cancels a run that has not ended, and returns when its end is durable."""
    executor.request_cancel(run_id, reason, None, grace_s)
    with parked():
        progress = await store.watch(run_id, 0, WatchFor.TERMINAL)
    is_cancelled = progress is not None and progress.status is RunState.CANCELLED
    return CancelOutcome.CANCELLED if is_cancelled else CancelOutcome.NOT_CANCELLABLE


async def cancel_items(
    executor: Executor, store: Store, spec: RunSpec, items: Sequence[int], reason: str | None, grace_s: float
) -> CancelOutcome:
    """Cancels some items of a run that has not ended, and returns when their ends are durable."""
    before = await find_ends(store, spec, items)
    executor.request_cancel(spec.run_id, reason, items, grace_s)
    with parked():
        await executor.wait_items_ended(spec.run_id, items)
    meant = [index for index, end in before.items() if end is ItemRef.OPEN]
    if ItemRef.CANCELLED in (await find_ends(store, spec, meant)).values():
        return CancelOutcome.CANCELLED
    if not meant and ItemRef.CANCELLED in before.values():
        return CancelOutcome.ALREADY_CANCELLED
    return CancelOutcome.NOT_CANCELLABLE
