"""The steps of items, folded from the journals in which they are recorded (PROTOCOL §4, `runs/steps`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Raw, Struct

from protocol.runs import ItemResult, Outcome, StepInfo, StepState
from protocol.types import Resume
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.lineage import Lineage, find_home, find_places, read_lineage
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

    async def read(
        self, record: RunRecord, indexes: Iterable[int], components: Mapping[str, str]
    ) -> list[list[StepInfo]]:
        """The steps of items, in the order in which they began; those that a fork re-uses as they were before it.

        Args:
            record: The run.
            indexes: Of the items, ascending. What they have in common is read once.
            components: By step.
        """
        lineage = await read_lineage(self._store, record.spec)
        generations: dict[int, list[int]] = {}
        for index in indexes:
            generations.setdefault(len(find_home(lineage, index)), []).append(index)
        found: dict[int, list[StepInfo]] = {}
        for depth, items in generations.items():
            home = lineage[-depth:]
            spans = await self._find_spans(home, items, record.progress.seq)
            steps = await self._read(home, spans, components)
            found.update((index, list(steps[index].values())) for index in items)
        return [found[index] for index in sorted(found)]

    async def _read(
        self, home: Lineage, spans: Mapping[int, Span], components: Mapping[str, str]
    ) -> dict[int, dict[str, StepInfo]]:
        """The steps of items that were executed in the run that `home` begins with, by index and step."""
        histories = await self._fold(home[0].run_id, spans, components)
        return {
            index: await self._find_reused(home, history, components) | history.steps
            if history.reused
            else history.steps
            for index, history in histories.items()
        }

    async def _fold(
        self, run_id: RunId, spans: Mapping[int, Span], components: Mapping[str, str]
    ) -> dict[int, ItemHistory]:
        """Has the events of a run pass by, each once, for all of these items."""
        histories = {index: ItemHistory(index, components) for index in spans}
        for seq, until in join_spans(spans.values()):
            while seq <= until:
                rows = await self._store.journal(run_id, seq, ROWS_PER_READ)
                for row in rows:
                    if row.first_seq > until:
                        break
                    for number, event in enumerate(decode_events(row.events), row.first_seq):
                        for index in _find_items(event, spans):
                            first, last = spans[index]
                            if first <= number <= last:
                                histories[index].take(event, row.at_ms)
                if not rows:
                    break
                seq = rows[-1].last_seq + 1
        return histories

    async def _find_reused(
        self, fork: Lineage, history: ItemHistory, components: Mapping[str, str]
    ) -> dict[str, StepInfo]:
        index, spec, forked = history.index, fork[0].fork, fork[0].forked
        assert spec is not None
        assert forked is not None
        home = find_home(fork[1:], index)
        begun = dict(forked.begun).get(index)
        spans = {index: (begun, spec.origin_seq)} if begun is not None else await self._find_spans(home, [index], 0)
        older = (await self._read(home, spans, components))[index]
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

    async def _find_spans(self, home: Lineage, indexes: Sequence[int], last_seq: int) -> dict[int, Span]:
        run_id = home[0].run_id
        places = await find_places(self._store, home[:1], indexes)
        run, journal = self._executor.active(run_id), Journal(self._store, run_id)
        spans: dict[int, Span] = {}
        for index in indexes:
            item = run.state.facts.find(index) if run is not None else None
            if index in places:
                seq = seq_of(places[index].ref)
                spans[index] = (await self._find_since(journal, index, seq), seq)
            else:
                spans[index] = (item.since, last_seq) if item is not None and item.since <= last_seq else (0, 0)
        return spans

    async def _find_since(self, journal: Journal, index: int, seq: int) -> int:
        event, _ = await journal.event(seq)
        if parking := find_parking(event, index):
            event, _ = await journal.event(parking)
        return getattr(event, "since", 0)


def join_spans(spans: Iterable[Span]) -> list[Span]:
    """What spans cover, each sequence number once; ascending."""
    joined: list[Span] = []
    for first, last in sorted(spans):
        if not first:
            continue
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def _find_items(event: AnyEvent, wanted: Mapping[int, Span]) -> Iterable[int]:
    """Those of the items that an event is about."""
    match event:
        case ev.ItemsStarted() | ev.StepsReused() | ev.ItemsCancelled():
            return [index for index in wanted if event.first <= index <= event.last]
        case _:
            index: int | None = getattr(event, "item", None)
            return () if index is None or index not in wanted else (index,)


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
