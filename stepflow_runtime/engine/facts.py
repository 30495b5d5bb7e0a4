"""What the journal of a run says: the fold of its events. Pure, and free of any decision.

`RunFacts.fold` is the only thing that changes them, in a live run and in recovery alike, so the state after a restart
is the state before it. What is kept is O(in flight): items that have ended leave only their counts, and an entry of a
result chunk. `snapshot` and `restore` carry it over a restart; the journal's tail is folded on top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Struct

from protocol.lifecycle import advance
from protocol.types import RunState as RunStatus
from stepflow_runtime.engine.plan import Progress
from stepflow_runtime.engine.results import ResultIndex
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent, RetryCause, RunSpec
from stepflow_runtime.model.status import RUN, TERMINAL_RUN_STATES, Change
from stepflow_runtime.ports import ItemRef, ResultChunk, RunProgress


class StepRecord:
    """One step of a live item.

    Attributes:
        attempt: The number of the current attempt, or of the last one; 0 if it was never executed.
        ended: The sequence number of the event that ended it, 0 while it has not.
        cause: What the last retry was for.
        due_ms: Wall time at which the current attempt may begin, 0 if at once.
        execution: Belongs to the shell: what carries out the current attempt.
    """

    __slots__ = ("attempt", "cause", "component_failures", "due_ms", "ended", "execution", "transport_failures")

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        self.ended = 0
        self.component_failures = 0
        self.transport_failures = 0
        self.cause: RetryCause | None = None
        self.due_ms = 0
        self.execution: Any = None


class ItemRecord:
    """A live item: one that has started and has not ended.

    Attributes:
        since: The sequence number from which its events are found.
        progress: Its evaluation; absent after a restore, until the engine recovers the item.
        cancelling: Whether only the answers in flight are still waited for.
        stops: How often in a row it may have taken the runtime down, without getting on in between.
        held: Whether it waits for its turn because of that.
        idle: How many of its steps took no action.
    """

    __slots__ = ("cancel_reason", "cancelling", "held", "idle", "index", "progress", "since", "steps", "stops")

    def __init__(self, index: int, since: int) -> None:
        self.index = index
        self.since = since
        self.steps: dict[str, StepRecord] = {}
        self.progress: Progress | None = None
        self.cancelling = False
        self.cancel_reason: str | None = None
        self.stops = 0
        self.held = False
        self.idle = 0

    @property
    def active(self) -> list[str]:
        """The steps that have begun and have not ended."""
        return [step for step, record in self.steps.items() if not record.ended]


class RunFacts:
    """The fold of one run's journal up to `seq`.

    Attributes:
        next_item: The first item that has not started; all below it have, or have ended.
        skipped: Items above `next_item` that ended without a start.
        recoveries: `started_through` at each recovery.
        stopped: Why what was left was cancelled without a request.
    """

    __slots__ = (
        "cancelled_by_request",
        "live",
        "next_item",
        "progress",
        "recoveries",
        "results",
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

    @property
    def is_terminal(self) -> bool:
        return self.progress.status in TERMINAL_RUN_STATES

    def attempt_of_start(self, index: int) -> int:
        """The attempt number with which an item's first steps begin: items in a lost window may have begun before."""
        return 1 + sum(through > index for through in self.recoveries)

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

    def snapshot(self) -> bytes:
        """All of it but the open result chunks, which the store has anyway."""
        return _encode(
            Snapshot(
                progress=self.progress,
                spec=self.spec,
                next_item=self.next_item,
                skipped=self.skipped,
                recoveries=self.recoveries,
                stopped=self.stopped,
                cancelled_by_request=self.cancelled_by_request,
                live=[(item.index, item.since, _pack_steps(item.steps)) for item in self.live.values()],
                cancelling={item.index: item.cancel_reason for item in self.live.values() if item.cancelling},
                stops={item.index: item.stops for item in self.live.values() if item.stops},
                held=[item.index for item in self.live.values() if item.held],
                idle={item.index: item.idle for item in self.live.values() if item.idle},
            )
        )

    @classmethod
    def restore(cls, seq: int, snapshot: bytes) -> RunFacts:
        """The facts as of `seq`; fold the journal's tail on top, then `restore_results`."""
        facts, saved = cls(), _decoder.decode(snapshot)
        facts.seq = seq
        facts.spec = saved.spec
        facts.progress = saved.progress
        facts.next_item = saved.next_item
        facts.skipped = saved.skipped
        facts.recoveries = saved.recoveries
        facts.stopped = saved.stopped
        facts.cancelled_by_request = saved.cancelled_by_request
        for index, since, steps in saved.live:
            item = facts.live[index] = ItemRecord(index, since)
            item.steps = {packed[0]: _unpack_step(packed) for packed in steps}
        for index, reason in saved.cancelling.items():
            facts.live[index].cancelling, facts.live[index].cancel_reason = True, reason
        for index, stops in saved.stops.items():
            facts.live[index].stops = stops
        for index in saved.held:
            facts.live[index].held = True
        for index, idle in saved.idle.items():
            facts.live[index].idle = idle
        return facts

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
            item.stops = 0

    def _step_idled(self, event: ev.StepIdled, seq: int) -> None:
        self.live[event.item].idle += 1
        self._step_succeeded(event, seq)

    def _step_failed(self, event: ev.StepFailed, seq: int) -> None:
        item = self.live[event.item]
        record = item.steps.get(event.step)
        if record is None:
            record = item.steps[event.step] = StepRecord(event.attempt)
        record.ended = seq
        item.stops = 0

    def _step_retrying(self, event: ev.StepRetrying, seq: int) -> None:
        item = self.live[event.item]
        record = item.steps.get(event.step)
        if record is None:
            record = item.steps[event.step] = StepRecord(0)
        item.held = False
        if event.cause is not RetryCause.RECOVERY:  # it failed, and the runtime did not
            item.stops = 0
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
        self._end(event.item, seq, ItemRef.CANCELLED)
        self.cancelled_by_request |= self.stopped is None

    def _items_cancelled(self, event: ev.ItemsCancelled, seq: int) -> None:
        self.progress.cancelled += self.results.end_all(event.first, event.last, seq, ItemRef.CANCELLED)
        self._move_next(event.last + 1)
        self.cancelled_by_request |= self.stopped is None

    def _move_next(self, index: int) -> None:
        while index in self.skipped:
            self.skipped.remove(index)
            index += 1
        self.next_item = index

    def _end(self, index: int, seq: int, how: ItemRef) -> None:
        item = self.live.pop(index, None)
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
        for index in list(self.live) if event.items is None else event.items:
            item = self.live.get(index)
            if item is not None:
                item.cancelling, item.cancel_reason = True, event.reason

    def _child_created(self, event: ev.ChildCreated, seq: int) -> None:
        pass

    def _completed(self, event: ev.RunCompleted, seq: int) -> None:
        self.progress.status = advance(RUN, self.progress.status, _CHANGES[event.status])

    def _run_stopped(self, event: ev.RunStopped, seq: int) -> None:
        self.stopped = event.reason
        self.progress.sealed = True
        self.progress.cancel_reason = event.reason

    def _recovered(self, event: ev.RunRecovered, seq: int) -> None:
        self.recoveries.append(event.through)
        for index in event.suspects:
            self.live[index].stops += 1
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
    }


_CHANGES: Final = {RunStatus.SUCCESS: Change.SUCCEED, RunStatus.FAILED: Change.FAIL, RunStatus.CANCELLED: Change.CANCEL}

PackedStep = tuple[str, int, int, int, int, RetryCause | None, int]


class Snapshot(Struct, kw_only=True):
    """`RunFacts` as stored; `live` is (index, since, steps) each, `cancelling` the reasons by index."""

    spec: RunSpec | None
    progress: RunProgress
    next_item: int
    skipped: set[int]
    recoveries: list[int]
    stopped: str | None
    cancelled_by_request: bool
    live: list[tuple[int, int, list[PackedStep]]]
    cancelling: dict[int, str | None]
    stops: dict[int, int] = {}
    held: list[int] = []
    idle: dict[int, int] = {}


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Snapshot)


def _pack_steps(steps: dict[str, StepRecord]) -> list[PackedStep]:
    return [
        (id, step.attempt, step.ended, step.component_failures, step.transport_failures, step.cause, step.due_ms)
        for id, step in steps.items()
    ]


def _unpack_step(packed: PackedStep) -> StepRecord:
    _, attempt, ended, component_failures, transport_failures, cause, due_ms = packed
    record = StepRecord(attempt)
    record.ended = ended
    record.component_failures = component_failures
    record.transport_failures = transport_failures
    record.cause = cause
    record.due_ms = due_ms
    return record
