"""What the journal of a run says: the fold of its events. Pure, and free of any decision.

`RunFacts.fold` is the only thing that changes them, in a live run and in recovery alike, so the state after a restart
is the state before it. What is kept is O(in flight): items that have ended leave only their counts, and an entry of a
result chunk. A `snapshot` carries it over a restart; the journal's tail is folded on top.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Struct

from protocol.lifecycle import advance
from protocol.runs import RunState as RunStatus
from stepflow_runtime.engine.fork import clip, find_next, holds
from stepflow_runtime.engine.items import ItemRecord, StepRecord, StepWaits, revive
from stepflow_runtime.engine.results import ResultIndex
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent, Nap, Parked, RetryCause
from stepflow_runtime.model.outcome import Resume
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.model.status import RUN, TERMINAL_RUN_STATES, Change
from stepflow_runtime.ports import ItemRef, ResultChunk, RunProgress


class Resumption(Struct, frozen=True, array_like=True):
    """A suspension that somebody ended."""

    item: int
    step: str
    label: str
    request_id: str | None = None
    token: str | None = None


MAX_REMEMBERED: Final = 1000
"""So many of its last resumptions and restarts a run remembers: who repeats a request is told what became of it."""


class RunFacts:
    """The fold of one run's journal up to `seq`.

    Attributes:
        live: The items that hold a slot, by index.
        queued: Those that were resumed and wait for a slot, in this order.
        has_suspended: Whether any step ever waited to be resumed.
        awake_through: Items that were parked before this sequence number sleep no more.
        resumptions: The last ones, the latest last.
        restarts: The last requests to have active steps go again: what was asked for, by their ids.
        next_item: The first item that has not started; all below it have, or have ended.
        skipped: Items above `next_item` that ended without a start.
        recoveries: `started_through` at each recovery.
        stopped: Why what was left was cancelled without a request.
        forked: Which items go again, if another run goes on as this one; the others have ended.
    """

    __slots__ = (
        "awake_through",
        "cancelled_by_request",
        "forked",
        "has_suspended",
        "live",
        "next_item",
        "progress",
        "queued",
        "recoveries",
        "restarts",
        "results",
        "resumptions",
        "seq",
        "skipped",
        "spec",
        "stopped",
    )

    def __init__(self) -> None:
        self.spec: RunSpec | None = None
        self.progress = RunProgress()
        self.seq = 0
        self.next_item = 0
        self.live: dict[int, ItemRecord] = {}
        self.results = ResultIndex()
        self.skipped: set[int] = set()
        self.recoveries: list[int] = []
        self.stopped: str | None = None
        self.cancelled_by_request = False
        self.queued: dict[int, ItemRecord] = {}
        self.awake_through = 0
        self.has_suspended = False
        self.resumptions: deque[Resumption] = deque(maxlen=MAX_REMEMBERED)
        self.restarts: dict[str, str] = {}
        self.forked: ev.RunForked | None = None

    def find(self, index: int) -> ItemRecord | None:
        """An item that is in memory: it is live, or waits for a slot."""
        return self.live.get(index) or self.queued.get(index)

    def is_open(self, index: int) -> bool:
        """Whether an item has begun and has not ended."""
        return index in self.live or index in self.queued or self.results.find_parked(index) > 0

    @property
    def is_suspended(self) -> bool:
        """Whether nothing goes on until something is resumed."""
        progress = self.progress
        return (
            progress.suspended > 0
            and progress.suspended + progress.completions == progress.total
            and progress.status is RunStatus.RUNNING
        )

    @property
    def is_quiet(self) -> bool:
        """Whether no item that has begun holds a slot, or waits for one."""
        return not self.live and not self.queued

    @property
    def is_terminal(self) -> bool:
        return self.progress.status in TERMINAL_RUN_STATES

    def attempt_of_start(self, index: int) -> int:
        """The attempt number with which an item's first steps begin: items in a lost window may have begun before."""
        return 1 + sum(through > index for through in self.recoveries)

    def is_to_begin(self, index: int) -> bool:
        """Whether an item from `next_item` on has not ended, be it in the run that this one was forked from."""
        return index not in self.skipped and (self.forked is None or holds(self.forked.travelling, index))

    def find_pending(self, first: int, end: int) -> Iterable[tuple[int, int]]:
        """Stretches, with both ends, of the items from `first` on and before `end` that are to begin in this run."""
        if self.forked is None:
            return [(first, end - 1)] if first < end else []
        return clip(self.forked.travelling, first, end - 1)

    def fold(self, event: AnyEvent) -> None:
        """Takes in the next event."""
        self.seq += 1
        self._FOLDS[type(event)](self, event, self.seq)

    def stamp(self, at_ms: int) -> None:
        """Tells when the events folded since the last call were committed, or are about to be."""
        progress = self.progress
        progress.seq = self.seq
        progress.updated_at_ms = at_ms
        progress.running = len(self.live)
        if progress.started_at_ms is None and progress.status is not RunStatus.PENDING:
            progress.started_at_ms = at_ms
        if progress.completed_at_ms is None and self.is_terminal:
            progress.completed_at_ms = at_ms

    def restore_results(self, chunks: Iterable[ResultChunk]) -> None:
        """Takes back the open result chunks as the store has them, which is as of the journal's end."""
        self.results = ResultIndex()
        self.results.restore(chunks)

    # --- the fold, an event each ---

    def _created(self, event: ev.RunCreated, seq: int) -> None:
        self.spec = event.spec
        self.progress.total = event.total
        self.progress.sealed = event.sealed

    def _appended(self, event: ev.RunAppended, seq: int) -> None:
        if event.total > self.progress.total:
            self._go_on()
        self.progress.total = event.total
        self.progress.sealed = event.sealed

    def _window_opened(self, event: ev.WindowOpened, seq: int) -> None:
        self.progress.started_through = event.through

    def _run_started(self, event: ev.RunStarted, seq: int) -> None:
        self.progress.status = advance(RUN, self.progress.status, Change.START)

    def _items_started(self, event: ev.ItemsStarted, seq: int) -> None:
        for index in range(event.first, event.last + 1):
            item = self.live[index] = ItemRecord(index, seq)
            for step in event.steps:
                item.steps[step] = StepRecord(event.attempt)
        self._move_next(event.last + 1)
        if event.steps:
            self.progress.current_step = event.steps[-1]

    def _step_started(self, event: ev.StepStarted, seq: int) -> None:
        self.live[event.item].steps[event.step] = StepRecord(event.attempt)
        self.progress.current_step = event.step

    def _step_succeeded(self, event: ev.StepSucceeded, seq: int) -> None:
        if event.since:
            self._end(event.item, seq, ItemRef.SUCCESS)
        else:
            item = self.live[event.item]
            item.steps[event.step].ended = seq
            item.stops = item.spared = 0

    def _step_idled(self, event: ev.StepIdled, seq: int) -> None:
        self.live[event.item].idle += 1
        self._step_succeeded(event, seq)

    def _step_failed(self, event: ev.StepFailed, seq: int) -> None:
        item = self.live[event.item]
        record = item.steps.get(event.step)
        if record is None:
            record = item.steps[event.step] = StepRecord(event.attempt)
        record.ended = seq
        item.stops = item.spared = 0

    def _step_retrying(self, event: ev.StepRetrying, seq: int) -> None:
        item = self.live[event.item]
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

    def _item_succeeded(self, event: ev.ItemSucceeded, seq: int) -> None:
        self._end(event.item, seq, ItemRef.SUCCESS)

    def _item_failed(self, event: ev.ItemFailed, seq: int) -> None:
        self._end(event.item, seq, ItemRef.FAILED)

    def _item_cancelled(self, event: ev.ItemCancelled, seq: int) -> None:
        if event.item >= self.next_item:
            self.skipped.add(event.item)
            self._move_next(self.next_item)
        self._leave_park(event.parked, 1)
        self._end(event.item, seq, ItemRef.CANCELLED)
        self.cancelled_by_request |= self.stopped is None

    def _items_cancelled(self, event: ev.ItemsCancelled, seq: int) -> None:
        count = self.results.end_all(event.first, event.last, seq, ItemRef.CANCELLED)
        self.progress.cancelled += count
        if event.parked is Parked.NO:
            self._move_next(event.last + 1)
        self._leave_park(event.parked, count)
        self.cancelled_by_request |= self.stopped is None

    def _move_next(self, index: int) -> None:
        index = self._skip_kept(index)
        while index in self.skipped:
            self.skipped.remove(index)
            index = self._skip_kept(index + 1)
        self.next_item = index

    def _skip_kept(self, index: int) -> int:
        """The first item from an index on that is none of those which a fork leaves as they are."""
        if self.forked is None:
            return index
        stretch = find_next(self.forked.travelling, index)
        return self.progress.total if stretch is None else stretch[0]

    def _end(self, index: int, seq: int, how: ItemRef) -> None:
        item = self.live.pop(index, None)
        if self.queued:
            self.queued.pop(index, None)
        self.results.end(index, seq, how)
        progress = self.progress
        if how is ItemRef.SUCCESS:
            progress.success += 1
            if item is not None and item.idle and item.idle == len(item.steps):
                progress.no_action += 1
        elif how is ItemRef.FAILED:
            progress.failed += 1
        else:
            progress.cancelled += 1

    def _cancel_requested(self, event: ev.CancelRequested, seq: int) -> None:
        if event.items is None:
            self.progress.cancel_requested = True
            self.progress.cancel_reason = event.reason
            self.progress.sealed = True
        for index in [*self.live, *self.queued] if event.items is None else event.items:
            item = self.find(index)
            if item is not None:
                item.cancelling, item.cancel_reason = True, event.reason

    def _child_created(self, event: ev.ChildCreated, seq: int) -> None:
        pass

    def _completed(self, event: ev.RunCompleted, seq: int) -> None:
        self.progress.status = advance(RUN, self.progress.status, _CHANGES[event.status])

    # --- what waits ---

    def _step_suspended(self, event: ev.StepSuspended, seq: int) -> None:
        item = self.live[event.item]
        item.stops = item.spared = 0
        record = item.steps[event.step]
        record.due_ms = event.due_ms
        self.has_suspended = self.has_suspended or not event.sleeps
        waits = record.waits = record.waits or StepWaits()
        waits.suspended, waits.sleeps, waits.token = seq, event.sleeps, event.token

    def _step_resumed(self, event: ev.StepResumed, seq: int) -> None:
        item = self.find(event.item)
        assert item is not None
        record = item.steps[event.step]
        waits = record.waits
        assert waits is not None
        record.attempt, record.cause, record.due_ms = event.attempt, None, 0
        if not waits.sleeps:
            self.resumptions.append(Resumption(event.item, event.step, event.label, event.request_id, waits.token))
        waits.suspended, waits.token = 0, None
        waits.resumed.append(seq)
        waits.resumes.append(Resume(event.label, bytes(event.data)))
        self._go_on()

    def _item_parked(self, event: ev.ItemParked, seq: int) -> None:
        self.live.pop(event.item, None)
        self.results.park(event.item, seq, event.how is Parked.SLEEPING)
        self._leave_park(event.how, -1)

    def _item_woken(self, event: ev.ItemWoken, seq: int) -> None:
        item = revive(event.item, event.since, event.steps)
        item.idle = event.idle
        if event.awake:
            for record in item.steps.values():
                if record.waits is not None and record.is_suspended and record.waits.sleeps:
                    record.due_ms = 1
        (self.queued if event.queued else self.live)[event.item] = item
        self.results.wake(event.item)
        self._leave_park(event.how, 1)
        self._go_on()

    def _item_continued(self, event: ev.ItemContinued, seq: int) -> None:
        self.live[event.item] = self.queued.pop(event.item)

    def _leave_park(self, how: Parked, count: int) -> None:
        if how is Parked.SUSPENDED:
            self.progress.suspended -= count
            if not self.progress.suspended:
                self._go_on()
        elif how is Parked.SLEEPING:
            self.progress.sleeping -= count

    def _run_suspended(self, event: ev.RunSuspended, seq: int) -> None:
        self.progress.status = advance(RUN, self.progress.status, Change.SUSPEND)

    def _go_on(self) -> None:
        if self.progress.status is RunStatus.SUSPENDED:
            self.progress.status = advance(RUN, self.progress.status, Change.RESUME)

    def _sleep_began(self, event: ev.SleepBegan, seq: int) -> None:
        record = self.live[event.item].steps[event.step]
        record.waits = record.waits or StepWaits()
        record.waits.naps[event.key] = Nap(event.key, event.due_ms, event.correlation_id)

    def _sleeps_stopped(self, event: ev.SleepsStopped, seq: int) -> None:
        is_meant = None if event.correlation_ids is None else frozenset(event.correlation_ids)
        if is_meant is None:
            self.awake_through = seq
        for item in (*self.live.values(), *self.queued.values()):
            for record in item.steps.values():
                waits = record.waits
                if waits is None:
                    continue
                if is_meant is None and waits.sleeps and waits.suspended:
                    record.due_ms = min(record.due_ms, event.at_ms)
                for key, nap in waits.naps.items():
                    if nap.due_ms > event.at_ms and (is_meant is None or nap.correlation_id in is_meant):
                        waits.naps[key] = msgspec.structs.replace(nap, stopped=True)

    # --- forks ---

    def _run_forked(self, event: ev.RunForked, seq: int) -> None:
        self.forked = event
        progress = self.progress
        progress.success, progress.failed, progress.cancelled = event.success, event.failed, event.cancelled
        progress.no_action = event.no_action
        self.cancelled_by_request = event.by_request
        self._move_next(0)

    def _steps_reused(self, event: ev.StepsReused, seq: int) -> None:
        for index in range(event.first, event.last + 1):
            self.live[index].idle = -event.acted

    def _paused(self, event: ev.RunPaused, seq: int) -> None:
        self.progress.paused = True

    def _unpaused(self, event: ev.RunUnpaused, seq: int) -> None:
        self.progress.paused = False

    def _steps_restarted(self, event: ev.StepsRestarted, seq: int) -> None:
        self.restarts[event.request_id] = event.content
        if len(self.restarts) > MAX_REMEMBERED:
            del self.restarts[next(iter(self.restarts))]

    # --- the end, and what comes between ---

    def _run_stopped(self, event: ev.RunStopped, seq: int) -> None:
        self.stopped = event.reason
        self.progress.sealed = True
        self.progress.cancel_reason = event.reason

    def _recovered(self, event: ev.RunRecovered, seq: int) -> None:
        self.recoveries.append(event.through)
        for index in event.suspects:
            self.live[index].stops += 1
        for index in event.spared:
            self.live[index].spared += 1
        for item in self.live.values():
            item.held = item.index in event.held

    _FOLDS: ClassVar[dict[type[AnyEvent], Callable[[RunFacts, Any, int], None]]] = {
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
        ev.StepSuspended: _step_suspended,
        ev.StepResumed: _step_resumed,
        ev.ItemParked: _item_parked,
        ev.ItemWoken: _item_woken,
        ev.ItemContinued: _item_continued,
        ev.RunSuspended: _run_suspended,
        ev.SleepBegan: _sleep_began,
        ev.SleepsStopped: _sleeps_stopped,
        ev.RunPaused: _paused,
        ev.RunUnpaused: _unpaused,
        ev.RunForked: _run_forked,
        ev.StepsReused: _steps_reused,
        ev.StepsRestarted: _steps_restarted,
    }


_CHANGES: Final = {RunStatus.SUCCESS: Change.SUCCEED, RunStatus.FAILED: Change.FAIL, RunStatus.CANCELLED: Change.CANCEL}
