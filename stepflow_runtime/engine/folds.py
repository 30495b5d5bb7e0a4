"""How each event changes what is known of a run: the only thing that does. Pure, and free of any decision.

The same in a live run and in recovery, so that the state after a restart is the state before it. Those of what waits
are in `folds_of_waits`, below; `facts` is what they change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from protocol.lifecycle import advance
from protocol.runs import RunState as RunStatus
from stepflow_runtime.engine.facts import MAX_REMEMBERED, RunFacts
from stepflow_runtime.engine.folds_of_waits import FOLDS_OF_WAITS, Fold, go_on, leave_park
from stepflow_runtime.engine.fork import find_next
from stepflow_runtime.engine.items import ItemRecord, StepRecord
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent, Parked, RetryCause
from stepflow_runtime.model.status import RUN, Change
from stepflow_runtime.ports import ItemRef


def fold(facts: RunFacts, event: AnyEvent) -> None:
    """Takes in the next event."""
    facts.seq = seq = facts.seq + 1
    _FOLDS[type(event)](facts, event, seq)


def fold_successes(facts: RunFacts, events: Sequence[ev.StepSucceeded]) -> None:
    """Takes in the next events, each of which ends an item."""
    first_seq = facts.seq + 1
    facts.seq += len(events)
    _succeed(facts, [event.item for event in events], first_seq)


def _created(facts: RunFacts, event: ev.RunCreated, seq: int) -> None:
    facts.spec = event.spec
    facts.progress.total = event.total
    facts.progress.sealed = event.sealed


def _appended(facts: RunFacts, event: ev.RunAppended, seq: int) -> None:
    if event.total > facts.progress.total:
        go_on(facts)
    facts.progress.total = event.total
    facts.progress.sealed = event.sealed


def _window_opened(facts: RunFacts, event: ev.WindowOpened, seq: int) -> None:
    facts.progress.started_through = event.through


def _run_started(facts: RunFacts, event: ev.RunStarted, seq: int) -> None:
    facts.progress.status = advance(RUN, facts.progress.status, Change.START)


def _items_started(facts: RunFacts, event: ev.ItemsStarted, seq: int) -> None:
    for index in range(event.first, event.last + 1):
        item = facts.live[index] = ItemRecord(index, seq)
        for step in event.steps:
            item.steps[step] = StepRecord(event.attempt)
    _move_next(facts, event.last + 1)
    if event.steps:
        facts.progress.current_step = event.steps[-1]


def _step_started(facts: RunFacts, event: ev.StepStarted, seq: int) -> None:
    facts.live[event.item].steps[event.step] = StepRecord(event.attempt)
    facts.progress.current_step = event.step


def _step_succeeded(facts: RunFacts, event: ev.StepSucceeded, seq: int) -> None:
    if event.since:
        _succeed(facts, (event.item,), seq)
    else:
        item = facts.live[event.item]
        item.steps[event.step].ended = seq
        item.stops = item.spared = 0


def _step_idled(facts: RunFacts, event: ev.StepIdled, seq: int) -> None:
    facts.live[event.item].idle += 1
    _step_succeeded(facts, event, seq)


def _step_failed(facts: RunFacts, event: ev.StepFailed, seq: int) -> None:
    item = facts.live[event.item]
    record = item.steps.get(event.step)
    if record is None:
        record = item.steps[event.step] = StepRecord(event.attempt)
    record.ended = seq
    item.stops = item.spared = 0


def _step_retrying(facts: RunFacts, event: ev.StepRetrying, seq: int) -> None:
    item = facts.live[event.item]
    record = item.steps.get(event.step)
    if record is None:
        record = item.steps[event.step] = StepRecord(0)
    item.held = False
    if event.cause is not RetryCause.RECOVERY:  # it failed, and the runtime did not
        item.stops = item.spared = 0
    record.attempt = event.attempt
    record.cause = event.cause
    record.due_ms = event.due_ms
    if event.cause is RetryCause.COMPONENT:
        record.component_failures += 1
    elif event.cause is RetryCause.TRANSPORT:
        record.transport_failures += 1


def _item_succeeded(facts: RunFacts, event: ev.ItemSucceeded, seq: int) -> None:
    _succeed(facts, (event.item,), seq)


def _item_failed(facts: RunFacts, event: ev.ItemFailed, seq: int) -> None:
    _end(facts, event.item, seq, ItemRef.FAILED)


def _item_cancelled(facts: RunFacts, event: ev.ItemCancelled, seq: int) -> None:
    if event.item >= facts.next_item:
        facts.skipped.add(event.item)
        _move_next(facts, facts.next_item)
    leave_park(facts, event.parked, 1)
    _end(facts, event.item, seq, ItemRef.CANCELLED)
    facts.cancelled_by_request |= facts.stopped is None


def _items_cancelled(facts: RunFacts, event: ev.ItemsCancelled, seq: int) -> None:
    count = facts.results.end_all(event.first, event.last, seq, ItemRef.CANCELLED)
    facts.progress.cancelled += count
    if event.parked is Parked.NO:
        _move_next(facts, event.last + 1)
    leave_park(facts, event.parked, count)
    facts.cancelled_by_request |= facts.stopped is None


def _move_next(facts: RunFacts, index: int) -> None:
    index = _skip_kept(facts, index)
    while index in facts.skipped:
        facts.skipped.remove(index)
        index = _skip_kept(facts, index + 1)
    facts.next_item = index


def _skip_kept(facts: RunFacts, index: int) -> int:
    """The first item from an index on that is none of those which a fork leaves as they are."""
    if facts.forked is None:
        return index
    stretch = find_next(facts.forked.travelling, index)
    return facts.progress.total if stretch is None else stretch[0]


def _succeed(facts: RunFacts, items: Sequence[int], first_seq: int) -> None:
    """Items end by events in a row."""
    facts.results.end(items, first_seq, ItemRef.SUCCESS)
    facts.progress.success += len(items)
    live = facts.live
    for index in items:
        item = live.pop(index, None)
        if item is not None and item.idle and item.idle == len(item.steps):
            facts.progress.no_action += 1


def _end(facts: RunFacts, index: int, seq: int, how: ItemRef) -> None:
    facts.live.pop(index, None)
    facts.queued.pop(index, None)
    facts.results.end((index,), seq, how)
    if how is ItemRef.FAILED:
        facts.progress.failed += 1
    else:
        facts.progress.cancelled += 1


def _cancel_requested(facts: RunFacts, event: ev.CancelRequested, seq: int) -> None:
    if event.items is None:
        facts.progress.cancel_requested = True
        facts.progress.cancel_reason = event.reason
        facts.progress.sealed = True
    for index in [*facts.live, *facts.queued] if event.items is None else event.items:
        item = facts.find(index)
        if item is not None:
            item.cancelling, item.cancel_reason = True, event.reason


def _child_created(facts: RunFacts, event: ev.ChildCreated, seq: int) -> None:
    pass


def _completed(facts: RunFacts, event: ev.RunCompleted, seq: int) -> None:
    facts.progress.status = advance(RUN, facts.progress.status, _CHANGES[event.status])


# --- forks ---


def _run_forked(facts: RunFacts, event: ev.RunForked, seq: int) -> None:
    facts.forked = event
    progress = facts.progress
    progress.success, progress.failed, progress.cancelled = event.success, event.failed, event.cancelled
    progress.no_action = event.no_action
    facts.cancelled_by_request = event.by_request
    _move_next(facts, 0)


def _steps_reused(facts: RunFacts, event: ev.StepsReused, seq: int) -> None:
    for index in range(event.first, event.last + 1):
        facts.live[index].idle = -event.acted


def _paused(facts: RunFacts, event: ev.RunPaused, seq: int) -> None:
    facts.progress.paused = True


def _unpaused(facts: RunFacts, event: ev.RunUnpaused, seq: int) -> None:
    facts.progress.paused = False


def _steps_restarted(facts: RunFacts, event: ev.StepsRestarted, seq: int) -> None:
    facts.restarts[event.request_id] = event.content
    if len(facts.restarts) > MAX_REMEMBERED:
        del facts.restarts[next(iter(facts.restarts))]


# --- the end, and what comes between ---


def _run_stopped(facts: RunFacts, event: ev.RunStopped, seq: int) -> None:
    facts.stopped = event.reason
    facts.progress.sealed = True
    facts.progress.cancel_reason = event.reason


def _recovered(facts: RunFacts, event: ev.RunRecovered, seq: int) -> None:
    facts.recoveries.append(event.through)
    for index in event.suspects:
        facts.live[index].stops += 1
    for index in event.spared:
        facts.live[index].spared += 1
    for item in facts.live.values():
        item.held = item.index in event.held


_CHANGES: Final = {RunStatus.SUCCESS: Change.SUCCEED, RunStatus.FAILED: Change.FAIL, RunStatus.CANCELLED: Change.CANCEL}


_FOLDS: Final[Mapping[type[AnyEvent], Fold]] = {
    **FOLDS_OF_WAITS,
    ev.RunCreated: _created,
    ev.RunAppended: _appended,
    ev.WindowOpened: _window_opened,
    ev.ItemsStarted: _items_started,
    ev.StepStarted: _step_started,
    ev.StepSucceeded: _step_succeeded,
    ev.StepFailed: _step_failed,
    ev.StepRetrying: _step_retrying,
    ev.ItemSucceeded: _item_succeeded,
    ev.ItemFailed: _item_failed,
    ev.ItemCancelled: _item_cancelled,
    ev.ItemsCancelled: _items_cancelled,
    ev.CancelRequested: _cancel_requested,
    ev.ChildCreated: _child_created,
    ev.RunCompleted: _completed,
    ev.RunStopped: _run_stopped,
    ev.RunRecovered: _recovered,
    ev.RunStarted: _run_started,
    ev.StepIdled: _step_idled,
    ev.RunPaused: _paused,
    ev.RunUnpaused: _unpaused,
    ev.RunForked: _run_forked,
    ev.StepsReused: _steps_reused,
    ev.StepsRestarted: _steps_restarted,
}
