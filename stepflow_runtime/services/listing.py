"""Pages over runs, items and steps (PROTOCOL §4). Each answer is one page; cursors are opaque."""

from __future__ import annotations

from typing import Final

import trio
from msgspec import Raw, Struct

from protocol.types import (
    ItemInfo,
    ItemState,
    ListItemsParams,
    ListItemsResult,
    ListRunsParams,
    ListRunsResult,
    ListStepsParams,
    ListStepsResult,
    Observability,
    StepInfo,
    StepState,
)
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.facts import RunFacts
from stepflow_runtime.engine.inputs import split_segment
from stepflow_runtime.engine.programs import Programs
from stepflow_runtime.engine.results import decode_refs, ref_of, seq_of
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent, decode_events
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import SEGMENT_ITEMS, SLEEPS, ItemRef, RunFilter, RunRecord, Store
from stepflow_runtime.services.lookup import RunLookup
from stepflow_runtime.services.results import Journal, make_result
from stepflow_runtime.services.status import (
    decode_index_cursor,
    decode_text_cursor,
    encode_cursor,
    format_time,
    make_status,
    parse_time,
)
from stepflow_runtime.services.suspensions import describe_suspension
from stepflow_runtime.services.visibility import Visibility

DEFAULT_LIMIT: Final = 100
CHUNKS_PER_PAGE: Final = 100
"""Result chunks that one page looks through for items in a status; a page may then hold fewer, and a cursor."""

ROWS_PER_READ: Final = 64

_ENDED: Final = {
    ItemRef.SUCCESS: ItemState.SUCCESS,
    ItemRef.FAILED: ItemState.FAILED,
    ItemRef.CANCELLED: ItemState.CANCELLED,
}


class ListingService:
    """Lists runs, and what is in them, for those who may see them."""

    def __init__(self, executor: Executor, store: Store, programs: Programs, visibility: Visibility) -> None:
        self._visibility = visibility
        self._lookup = RunLookup(executor, store)
        self._executor = executor
        self._store = store
        self._programs = programs

    async def runs(self, params: ListRunsParams, connection: Connection) -> ListRunsResult:
        """`runs/list`: newest first. What the peer may not see is left out of its page."""
        limit = params.limit or DEFAULT_LIMIT
        position = decode_text_cursor(params.cursor)
        before = None if position is None else RunId(position)
        after, until = params.created_after, params.created_before
        where = RunFilter(
            status=params.status,
            flow_id=params.flow_id,
            flow_name=params.flow_name,
            parent_run_id=params.parent_run_id,
            root_run_id=params.root_run_id,
            job_run_id=params.job_run_id,
            labels=params.labels,
            created_after_ms=None if after is None else parse_time(after, "createdAfter"),
            created_before_ms=None if until is None else parse_time(until, "createdBefore"),
        )
        records = await self._store.runs(where, before, limit + 1)
        more = encode_cursor(records[limit - 1].spec.run_id) if len(records) > limit else None
        seen = [record for record in records[:limit] if self._sees(connection, record, params.observability)]
        stuck = self._executor.awaits_store
        return ListRunsResult([make_status(record, awaits_store=stuck(record.spec.run_id)) for record in seen], more)

    def _sees(self, connection: Connection, record: RunRecord, observability: Observability | None) -> bool:
        return self._visibility.sees(connection, record.spec, observability)

    async def items(self, params: ListItemsParams, connection: Connection) -> ListItemsResult:
        """`runs/items`: by index, with their inputs and results."""
        record = await self._require(params.run_id, connection, params.observability)
        (index,) = decode_index_cursor(params.cursor)
        limit = params.limit or DEFAULT_LIMIT
        items: list[ItemInfo] = []
        for _ in range(CHUNKS_PER_PAGE):
            if index >= record.progress.total or len(items) == limit:
                break
            index = await self._add_items(record, index, params.status, limit, items)
            await trio.lowlevel.checkpoint()
        return ListItemsResult(items, encode_cursor(index) if index < record.progress.total else None)

    async def _add_items(
        self, record: RunRecord, first: int, status: ItemState | None, limit: int, items: list[ItemInfo]
    ) -> int:
        """Adds the items of one chunk, from `first` on, that are in `status`; returns where to go on."""
        run_id = record.spec.run_id
        chunk = first // SEGMENT_ITEMS
        stored = await self._store.chunks(run_id, chunk, chunk)
        refs = decode_refs(stored[0].refs) if stored else ()
        run = self._executor.active(run_id)
        facts = None if run is None else run.state.facts
        inputs, journal = Inputs(self._store, run_id), Journal(self._store, run_id)
        end = min((chunk + 1) * SEGMENT_ITEMS, record.progress.total)
        for index in range(first, end):
            ref = ref_of(refs, index)
            state = _ENDED.get(ItemRef(ref & 3)) or find_state(facts, index)
            if status is not None and state is not status:
                continue
            if len(items) == limit:
                return index
            info = ItemInfo(index, state, input=await inputs.get(index))
            if ref & 3:
                event, _ = await journal.event(seq_of(ref))
                info.result = make_result(event)
            elif ref:
                event, _ = await journal.event(seq_of(ref))
                assert isinstance(event, ev.ItemParked)
                info.current_steps = [step.id for step in event.steps if not step.ended]
            elif facts is not None and (item := facts.find(index)) is not None:
                info.current_steps = item.active
            items.append(info)
        return end

    async def steps(self, params: ListStepsParams, connection: Connection) -> ListStepsResult:
        """`runs/steps`: what was executed, item by item; without `itemIndex`, items in order of their index."""
        record = await self._require(params.run_id, connection, params.observability)
        index, skip = decode_index_cursor(params.cursor, 2)
        if params.item_index is not None:
            index = params.item_index
        limit = params.limit or DEFAULT_LIMIT
        end = record.progress.total if params.item_index is None else min(index + 1, record.progress.total)
        found: list[StepInfo] = []
        while index < end and len(found) <= limit:
            steps = await self._steps_of(record, index)
            for step in steps[skip:]:
                if len(found) == limit:
                    return ListStepsResult(found, encode_cursor(index, skip))
                found.append(step)
                skip += 1
            if not steps and index >= record.progress.started_through:
                break
            index, skip = index + 1, 0
            await trio.lowlevel.checkpoint()
        return ListStepsResult(found)

    async def _steps_of(self, record: RunRecord, index: int) -> list[StepInfo]:
        run_id = record.spec.run_id
        since, until = await self._find_span(run_id, index, record.progress.seq)
        if not since:
            return []
        program = await self._programs.get(record.spec.flow_id, record.spec.overrides)
        components = {step.id: step.component for step in program.flow.steps}
        history = ItemHistory(index, components)
        seq = since
        while seq <= until:
            rows = await self._store.journal(run_id, seq, ROWS_PER_READ)
            for row in rows:
                for number, event in enumerate(decode_events(row.events), row.first_seq):
                    if since <= number <= until:
                        history.take(event, row.at_ms)
            if not rows:
                break
            seq = rows[-1].last_seq + 1
        return list(history.steps.values())

    async def _find_span(self, run_id: RunId, index: int, last_seq: int) -> tuple[int, int]:
        """The sequence numbers between which the events of an item are; zeros if it has not started."""
        chunk = index // SEGMENT_ITEMS
        for stored in await self._store.chunks(run_id, chunk, chunk):
            ref = ref_of(decode_refs(stored.refs), index)
            if ref:
                journal = Journal(self._store, run_id)
                event, _ = await journal.event(seq_of(ref))
                since: int = getattr(event, "since", 0)
                if isinstance(event, ev.ItemCancelled) and event.parked:
                    parked, _ = await journal.event(since)
                    since = getattr(parked, "since", 0)
                return since, seq_of(ref)
        run = self._executor.active(run_id)
        item = run.state.facts.find(index) if run is not None else None
        return (item.since, last_seq) if item is not None and item.since <= last_seq else (0, 0)

    async def _require(self, run_id: str, connection: Connection, observability: Observability | None) -> RunRecord:
        return self._visibility.require(connection, await self._lookup.find(RunId(run_id)), run_id, observability)


def find_state(facts: RunFacts | None, index: int) -> ItemState:
    """The state of an item that has not durably ended.

    Args:
        facts: Of its run; `None` if that is not in memory.
        index: Of the item.
    """
    if facts is None:
        return ItemState.PENDING
    parked = facts.results.find_parked(index)
    if parked:
        return ItemState.RUNNING if parked & SLEEPS else ItemState.SUSPENDED
    if index in facts.queued:
        return ItemState.PENDING
    # The end of one that is not live is not durable yet.
    return ItemState.RUNNING if index in facts.live or index < facts.next_item else ItemState.PENDING


class Inputs:
    """Inputs of one run, read a segment at a time."""

    def __init__(self, store: Store, run_id: RunId) -> None:
        self._store = store
        self._run_id = run_id
        self._first = 0
        self._values: list[bytes] = []

    async def get(self, index: int) -> Raw:
        """An input, raw; cheap when asked in order."""
        if not self._first <= index < self._first + len(self._values):
            segment = await self._store.inputs(self._run_id, index)
            assert segment is not None, f"run {self._run_id} has no input {index}"
            self._first, self._values = segment.first_index, split_segment(segment)
        return Raw(self._values[index - self._first])


class ItemHistory(Struct):
    """The steps of one item, folded from the run's events."""

    index: int
    components: dict[str, str]
    steps: dict[str, StepInfo] = {}

    def take(self, event: AnyEvent, at_ms: int) -> None:
        """Takes in the next event of the run."""
        index = self.index
        match event:
            case ev.ItemsStarted(first=first, last=last, steps=steps, attempt=attempt) if first <= index <= last:
                for step in steps:
                    self._begin(step, attempt, at_ms)
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
            case ev.StepSucceeded(item=item, step=step) if item == index:
                self._end(step, StepState.SUCCESS, event, at_ms)
            case ev.StepFailed(item=item, step=step) if item == index:
                self._end(step, StepState.FAILED, event, at_ms)
            case ev.ItemFailed(item=item) | ev.ItemCancelled(item=item) | ev.ItemSucceeded(item=item) if item == index:
                for info in self.steps.values():
                    if info.completed_at is None:
                        info.status, info.completed_at = StepState.CANCELLED, format_time(at_ms)
                        info.suspension = None
            case _:
                pass

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
            component = self.components.get(step, "")
            info = StepInfo(self.index, step, component, StepState.RUNNING, 1, started_at=format_time(at_ms))
            self.steps[step] = info
        return info
