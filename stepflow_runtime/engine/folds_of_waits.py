"""How events of what waits change what is known of a run: suspensions, sleeps, items without a slot. See `folds`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from protocol.lifecycle import advance
from protocol.runs import RunState as RunStatus
from stepflow_runtime.engine.facts import Resumption, RunFacts
from stepflow_runtime.engine.items import StepWaits, revive
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent, Nap, Parked
from stepflow_runtime.model.outcome import Resume
from stepflow_runtime.model.status import RUN, Change

Fold: TypeAlias = Callable[[RunFacts, Any, int], None]
"""Changes the facts by an event; the last argument is its sequence number."""


def _step_suspended(facts: RunFacts, event: ev.StepSuspended, seq: int) -> None:
    item = facts.live[event.item]
    item.stops = item.spared = 0
    record = item.steps[event.step]
    record.due_ms = event.due_ms
    facts.has_suspended = facts.has_suspended or not event.sleeps
    waits = record.waits = record.waits or StepWaits()
    waits.suspended, waits.sleeps, waits.token = seq, event.sleeps, event.token


def _step_resumed(facts: RunFacts, event: ev.StepResumed, seq: int) -> None:
    item = facts.find(event.item)
    assert item is not None
    record = item.steps[event.step]
    waits = record.waits
    assert waits is not None
    record.attempt, record.cause, record.due_ms = event.attempt, None, 0
    if not waits.sleeps:
        facts.resumptions.append(Resumption(event.item, event.step, event.label, event.request_id, waits.token))
    waits.suspended, waits.token = 0, None
    waits.resumed.append(seq)
    waits.resumes.append(Resume(event.label, bytes(event.data)))
    go_on(facts)


def _item_parked(facts: RunFacts, event: ev.ItemParked, seq: int) -> None:
    facts.live.pop(event.item, None)
    facts.results.park(event.item, seq, event.how is Parked.SLEEPING)
    leave_park(facts, event.how, -1)


def _item_woken(facts: RunFacts, event: ev.ItemWoken, seq: int) -> None:
    item = revive(event.item, event.since, event.steps)
    item.idle = event.idle
    if event.awake:
        for record in item.steps.values():
            if record.waits is not None and record.is_suspended and record.waits.sleeps:
                record.due_ms = 1
    (facts.queued if event.queued else facts.live)[event.item] = item
    facts.results.wake(event.item)
    leave_park(facts, event.how, 1)
    go_on(facts)


def _item_continued(facts: RunFacts, event: ev.ItemContinued, seq: int) -> None:
    facts.live[event.item] = facts.queued.pop(event.item)


def leave_park(facts: RunFacts, how: Parked, count: int) -> None:
    """So many items are parked no more."""
    if how is Parked.SUSPENDED:
        facts.progress.suspended -= count
        if not facts.progress.suspended:
            go_on(facts)
    elif how is Parked.SLEEPING:
        facts.progress.sleeping -= count


def _run_suspended(facts: RunFacts, event: ev.RunSuspended, seq: int) -> None:
    facts.progress.status = advance(RUN, facts.progress.status, Change.SUSPEND)


def go_on(facts: RunFacts) -> None:
    """The run is suspended no more, if it was."""
    if facts.progress.status is RunStatus.SUSPENDED:
        facts.progress.status = advance(RUN, facts.progress.status, Change.RESUME)


def _sleep_began(facts: RunFacts, event: ev.SleepBegan, seq: int) -> None:
    record = facts.live[event.item].steps[event.step]
    record.waits = record.waits or StepWaits()
    record.waits.naps[event.key] = Nap(event.key, event.due_ms, event.correlation_id)


def _sleeps_stopped(facts: RunFacts, event: ev.SleepsStopped, seq: int) -> None:
    is_meant = None if event.correlation_ids is None else frozenset(event.correlation_ids)
    if is_meant is None:
        facts.awake_through = seq
    for item in (*facts.live.values(), *facts.queued.values()):
        for record in item.steps.values():
            waits = record.waits
            if waits is None:
                continue
            if is_meant is None and waits.sleeps and waits.suspended:
                record.due_ms = min(record.due_ms, event.at_ms)
            for key, nap in waits.naps.items():
                if nap.due_ms > event.at_ms and (is_meant is None or nap.correlation_id in is_meant):
                    waits.naps[key] = msgspec.structs.replace(nap, stopped=True)


FOLDS_OF_WAITS: Final[Mapping[type[AnyEvent], Fold]] = {
    ev.StepSuspended: _step_suspended,
    ev.StepResumed: _step_resumed,
    ev.ItemParked: _item_parked,
    ev.ItemWoken: _item_woken,
    ev.ItemContinued: _item_continued,
    ev.RunSuspended: _run_suspended,
    ev.SleepBegan: _sleep_began,
    ev.SleepsStopped: _sleeps_stopped,
}
