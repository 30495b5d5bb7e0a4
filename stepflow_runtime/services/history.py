"""The steps of items, folded from the journals in which they are recorded (PROTOCOL §4, `runs/steps`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Raw, Struct

from protocol.runs import ItemResult, Outcome, StepInfo, StepState
from protocol.types import Resume
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.lineage import Lineage, Place, find_home, find_places, read_lineage
from stepflow_runtime.engine.results import seq_of
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent, decode_events, find_parking
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import RunRecord, Store
from stepflow_runtime.services.results import Journal, make_result
from stepflow_runtime.services.status import format_time
from stepflow_runtime.services.suspensions import describe_suspension

ROWS_PER_READ: Final = 64

Span = tuple[int, int]
"""The first and the last sequence number between which the events of an item are; zeros if it has not started."""


class HistoryReader:
    """Reads what items did.

    Args:
        executor: Knows where live items began.
        store: Has the journals.
    """

    def __init__(self, executor: Executor, store: Store) -> None:
        self._executor = executor
        self._store = store

    async def read(self, record: RunRecord, index: int, components: Mapping[str, str]) -> list[StepInfo]:
        """The steps of an item, in the order in which they began; those that a fork re-uses as they were before it.

        Args:
            record: The run.
            index: Of the item.
            components: By step.
        """
        home = find_home(await read_lineage(self._store, record.spec), index)
        span = await self._find_span(home, index, record.progress.seq)
        return list((await self._read(home, index, span, components)).values())

    async def _read(self, home: Lineage, index: int, span: Span, components: Mapping[str, str]) -> dict[str, StepInfo]:
        history = ItemHistory(index, components)
        seq, until = span
        while 0 < seq <= until:
            rows = await self._store.journal(home[0].run_id, seq, ROWS_PER_READ)
            for row in rows:
                for number, event in enumerate(decode_events(row.events), row.first_seq):
                    if span[0] <= number <= until:
                        history.take(event, row.at_ms)
            if not rows:
                break
            seq = rows[-1].last_seq + 1
        if not history.reused:
            return history.steps
        return await self._find_reused(home, index, history, components) | history.steps

    async def _find_reused(
        self, fork: Lineage, index: int, history: ItemHistory, components: Mapping[str, str]
    ) -> dict[str, StepInfo]:
        spec, forked = fork[0].fork, fork[0].forked
        assert spec is not None
        assert forked is not None
        home = find_home(fork[1:], index)
        begun = dict(forked.begun).get(index)
        span = (begun, spec.origin_seq) if begun is not None else await self._find_span(home, index, 0)
        older = await self._read(home, index, span, components)
        found: dict[str, StepInfo] = {}
        for step in history.reused:
            info = older.get(step)
            if step in spec.context and (info is None or info.status is not StepState.SUCCESS):
                info = history.make(step, history.began_ms)
                info.status, info.completed_at = StepState.SUCCESS, info.started_at
                info.result = ItemResult(Outcome.SUCCESS, Raw(spec.context[step]))
            if info is not None:
                found[step] = info
        return found

    async def _find_span(self, home: Lineage, index: int, last_seq: int) -> Span:
        run_id = home[0].run_id
        place = (await find_places(self._store, home[:1], [index])).get(index)
        if place is not None:
            return await self._find_since(run_id, index, place), seq_of(place.ref)
        run = self._executor.active(run_id)
        item = run.state.facts.find(index) if run is not None else None
        return (item.since, last_seq) if item is not None and item.since <= last_seq else (0, 0)

    async def _find_since(self, run_id: RunId, index: int, place: Place) -> int:
        journal = Journal(self._store, run_id)
        event, _ = await journal.event(seq_of(place.ref))
        if parking := find_parking(event, index):
            event, _ = await journal.event(parking)
        return getattr(event, "since", 0)


class ItemHistory(Struct):
    """The steps of one item, folded from the run's events."""

    index: int
    components: Mapping[str, str]
    steps: dict[str, StepInfo] = {}
    reused: tuple[str, ...] = ()
    began_ms: int = 0

    def take(self, event: AnyEvent, at_ms: int) -> None:
        """Takes in the next event of the run."""
        index = self.index
        match event:
            case ev.ItemsStarted(first=first, last=last, steps=steps, attempt=attempt) if first <= index <= last:
                for step in steps:
                    self._begin(step, attempt, at_ms)
            case ev.StepsReused(first=first, last=last, steps=steps) if first <= index <= last:
                self.reused, self.began_ms = steps, at_ms
            case ev.StepStarted(item=item, step=step, attempt=attempt) if item == index:
                self._begin(step, attempt, at_ms)
            case ev.StepRetrying(item=item, step=step, attempt=attempt) if item == index:
                info = self._find(step, at_ms)
                info.attempt, info.status = attempt, StepState.RETRYING
            case ev.StepSuspended(item=item, step=step) if item == index:
                info = self._find(step, at_ms)
                if not event.sleeps:
                    info.status, info.suspension = StepState.SUSPENDED, describe_suspension(event, at_ms)
            case ev.StepResumed(item=item, step=step, attempt=attempt) if item == index:
                self._begin(step, attempt, at_ms)
                info = self._find(step, at_ms)
                info.resumes = [*(info.resumes or ()), Resume(event.label, event.data)]
            case ev.StepSucceeded(item=item, step=step) if item == index:
                self._end(step, StepState.SUCCESS, event, at_ms)
            case ev.StepFailed(item=item, step=step) if item == index:
                self._end(step, StepState.FAILED, event, at_ms)
            case ev.ItemFailed(item=item) | ev.ItemCancelled(item=item) | ev.ItemSucceeded(item=item) if item == index:
                self._end_item(at_ms)
            case ev.ItemsCancelled(first=first, last=last) if first <= index <= last:
                self._end_item(at_ms)
            case _:
                pass

    def _end_item(self, at_ms: int) -> None:
        for info in self.steps.values():
            if info.completed_at is None:
                info.status, info.completed_at = StepState.CANCELLED, format_time(at_ms)
                info.suspension = None

    def _begin(self, step: str, attempt: int, at_ms: int) -> None:
        info = self._find(step, at_ms)
        info.attempt, info.status, info.started_at = attempt, StepState.RUNNING, format_time(at_ms)
        info.suspension = None

    def _end(self, step: str, status: StepState, event: AnyEvent, at_ms: int) -> None:
        info = self._find(step, at_ms)
        info.status, info.completed_at, info.result = status, format_time(at_ms), make_result(event)
        info.suspension = None

    def _find(self, step: str, at_ms: int) -> StepInfo:
        info = self.steps.get(step)
        if info is None:
            info = self.steps[step] = self.make(step, at_ms)
        return info

    def make(self, step: str, at_ms: int) -> StepInfo:
        """A step that begins."""
        component = self.components.get(step, "")
        return StepInfo(self.index, step, component, StepState.RUNNING, 1, started_at=format_time(at_ms))
