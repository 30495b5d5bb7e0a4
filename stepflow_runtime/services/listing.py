"""Pages over runs, items and steps (PROTOCOL §4). Each answer is one page; cursors are opaque."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import trio
from msgspec import Raw

from protocol.runs import (
    ItemInfo,
    ItemState,
    ListItemsParams,
    ListItemsResult,
    ListRunsParams,
    ListRunsResult,
    ListStepsParams,
    ListStepsResult,
    StepInfo,
)
from protocol.types import Observability
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.facts import RunFacts
from stepflow_runtime.engine.inputs import split_segment
from stepflow_runtime.engine.lineage import read_chunk, read_lineage
from stepflow_runtime.engine.plan import Plan, Progress
from stepflow_runtime.engine.programs import Program, Programs
from stepflow_runtime.engine.results import seq_of
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import Failure, Outcome
from stepflow_runtime.ports import SEGMENT_ITEMS, SLEEPS, ItemRef, RunFilter, RunRecord, Store
from stepflow_runtime.services.history import HistoryReader
from stepflow_runtime.services.lookup import RunLookup
from stepflow_runtime.services.results import Journal, make_result
from stepflow_runtime.services.status import (
    decode_index_cursor,
    decode_text_cursor,
    encode_cursor,
    make_status,
    parse_time,
)
from stepflow_runtime.services.visibility import Visibility

DEFAULT_LIMIT: Final = 100
CHUNKS_PER_PAGE: Final = 100
"""Result chunks that one page looks through for items in a status; a page may then hold fewer, and a cursor."""

_ENDED: Final[Mapping[int, ItemState]] = {
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
        self._history = HistoryReader(executor, store)

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
        """`runs/items`: by index, with their inputs and results; from `startIndex` on, unless a cursor says more."""
        record = await self._require(params.run_id, connection, params.observability)
        (index,) = decode_index_cursor(params.cursor)
        if params.cursor is None:
            index = params.start_index or 0
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
        places = await read_chunk(self._store, await read_lineage(self._store, record.spec), chunk)
        run = self._executor.active(run_id)
        facts = None if run is None else run.state.facts
        inputs, journal = Inputs(self._store, record.spec.inputs_of), Journal(self._store, run_id)
        end = min((chunk + 1) * SEGMENT_ITEMS, record.progress.total)
        for index in range(first, end):
            home, ref = places.get(index, (run_id, 0))
            state = _ENDED.get(ref & 3) or find_state(facts, index)
            if status is not None and state is not status:
                continue
            if len(items) == limit:
                return index
            info = ItemInfo(index, state, input=await inputs.get(index))
            if home != journal.run_id:
                journal = Journal(self._store, home)
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
        program = await self._programs.of(record.spec)
        if not program.flow.steps:
            return ListStepsResult([])
        at_once = limit // len(program.flow.steps) + 1
        found: list[StepInfo] = []
        while index < end:
            indexes = range(index, min(index + at_once, end))
            items = await self._steps_of(record, program, indexes, bool(params.include_inputs))
            for index, steps in zip(indexes, items, strict=True):
                for step in steps[skip:]:
                    if len(found) == limit:
                        return ListStepsResult(found, encode_cursor(index, skip))
                    found.append(step)
                    skip += 1
                if not steps and index >= record.progress.started_through:
                    return ListStepsResult(found)
                skip = 0
            index = indexes.stop
            await trio.lowlevel.checkpoint()
        return ListStepsResult(found)

    async def _steps_of(
        self, record: RunRecord, program: Program, indexes: range, with_inputs: bool
    ) -> list[list[StepInfo]]:
        components = {step.id: step.component for step in program.flow.steps}
        items = await self._history.read(record, indexes, components)
        inputs = Inputs(self._store, record.spec.inputs_of)
        for index, steps in zip(indexes, items, strict=True):
            if with_inputs:
                add_inputs(steps, program.plan, bytes(await inputs.get(index)), record.spec.variables)
            else:
                for step in steps:
                    step.resumes = None
        return items

    async def _require(self, run_id: str, connection: Connection, observability: Observability | None) -> RunRecord:
        return self._visibility.require(connection, await self._lookup.find(RunId(run_id)), run_id, observability)


def add_inputs(steps: Sequence[StepInfo], plan: Plan, item_input: bytes, variables: Mapping[str, bytes]) -> None:
    """Adds what steps were executed with: nobody keeps it, as it follows from the item's input and the steps before.

    Args:
        steps: Of one item.
        plan: Its flow.
        item_input, variables: Raw JSON.
    """
    outcomes: dict[str, Outcome] = {}
    for step in steps:
        planned, result = plan.steps.get(step.step_id), step.result
        if planned is None or result is None:
            continue
        if result.error is None:
            outcomes[step.step_id] = bytes(result.value)
        else:
            failure = Failure(result.error.code, result.error.message)
            outcomes[step.step_id] = failure if planned.default is None else planned.default
    progress = Progress.restore(plan, item_input, variables, outcomes)
    for step in steps:
        planned = plan.steps.get(step.step_id)
        value = None if planned is None else planned.expression.evaluate(progress)
        if isinstance(value, bytes):
            step.input = Raw(value)


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
