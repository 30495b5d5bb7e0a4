"""Results of a run's items, read from its journal: by index through result chunks, by completion in commit order."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Final

import trio
from msgspec import Raw, Struct

from protocol.errand import in_task
from protocol.runs import ItemEntry, ItemError, ItemResult, Outcome
from stepflow_runtime.engine.fork import find_nth_gap, holds
from stepflow_runtime.engine.lineage import ENDED, Lineage, Place, find_places, read_chunk, read_lineage
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent, completions, decode_events
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import Failure
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.ports import SEGMENT_ITEMS, ItemRef, JournalRow, Store
from stepflow_runtime.services.status import format_time

ROWS_PER_READ: Final = 8
ENTRY_OVERHEAD: Final = 160
"""Bytes of an entry in an answer, besides its value."""


class Page(Struct):
    """Consecutive results. `next_offset` is where to go on, if there is more."""

    entries: list[ItemEntry]
    next_offset: int | None = None


class Journal:
    """Events of the run `run_id` by their sequence number, each row decoded once while it is passed."""

    def __init__(self, store: Store, run_id: RunId) -> None:
        self._store = store
        self.run_id = run_id
        self._rows: list[JournalRow] = []
        self._row: JournalRow | None = None
        self._events: Sequence[AnyEvent] = ()

    async def event(self, seq: int) -> tuple[AnyEvent, int]:
        """An event and the wall time of its commit; cheap when asked in ascending order."""
        row = self._row
        if row is None or not row.first_seq <= seq <= row.last_seq:
            row = next((row for row in self._rows if row.first_seq <= seq <= row.last_seq), None)
            if row is None:
                self._rows = await self._store.journal(self.run_id, seq, ROWS_PER_READ)
                row = self._rows[0]
            self._row, self._events = row, decode_events(row.events)
        return self._events[seq - row.first_seq], row.at_ms


async def read_by_index(store: Store, spec: RunSpec, offset: int, limit: int, total: int, max_bytes: int) -> Page:
    """The results of ended items from index `offset` on.

    Args:
        limit: At most so many results.
        total: Items of the run.
        max_bytes: About how large the answer may get; at least one result is given.
    """
    entries: list[ItemEntry] = []
    budget = max_bytes
    lineage = await read_lineage(store, spec)
    first = offset // SEGMENT_ITEMS
    for number in range(first, (total - 1) // SEGMENT_ITEMS + 1 if total else 0):
        if number > first:
            await in_task()
            await trio.lowlevel.checkpoint()
        chunk = await read_chunk(store, lineage, number, ENDED)
        places = [found for found in chunk.items() if found[0] >= offset]
        for entry in await _read_entries(store, places[: limit - len(entries) + 1]):
            size = ENTRY_OVERHEAD + len(_value_bytes(entry))
            if entries and (len(entries) >= limit or budget < size):
                return Page(entries, entry.item_index)
            entries.append(entry)
            budget -= size
    return Page(entries)


async def find_ends(store: Store, spec: RunSpec, items: Iterable[int]) -> dict[int, ItemRef]:
    """How each of some items has ended."""
    ended = await find_places(store, await read_lineage(store, spec), items)
    return {index: ItemRef(ended[index].ref & 3) if index in ended else ItemRef.OPEN for index in items}


async def _read_entries(store: Store, places: list[tuple[int, Place]]) -> list[ItemEntry]:
    entries: dict[int, ItemEntry] = {}
    journal = Journal(store, RunId(""))
    for index, place in sorted(places, key=lambda found: found[1]):
        if place.run_id != journal.run_id:
            journal = Journal(store, place.run_id)
        event, at_ms = await journal.event(place.ref >> 2)
        entries[index] = make_entry(index, event, at_ms)
    return [entries[index] for index, _ in places]


async def read_by_completion(store: Store, spec: RunSpec, offset: int, limit: int, max_bytes: int) -> Page:
    """Results in the order in which their items ended, from the completion ordinal `offset` on."""
    entries: list[ItemEntry] = []
    budget = max_bytes
    async with aclosing(_iterate_ended(store, await read_lineage(store, spec), offset)) as stretches:
        async for stretch in stretches:
            for entry in stretch:
                size = ENTRY_OVERHEAD + len(_value_bytes(entry))
                if entries and (len(entries) >= limit or budget < size):
                    return Page(entries, offset + len(entries))
                entries.append(entry)
                budget -= size
    return Page(entries)


async def _iterate_ended(store: Store, lineage: Lineage, offset: int) -> AsyncGenerator[Iterable[ItemEntry]]:
    """Results in the order of completion; what a fork keeps comes first, in the order that it had before."""
    run_id, forked = lineage[0].run_id, lineage[0].forked
    kept = 0 if forked is None else completions(forked)
    if forked is not None and offset < kept:
        at = find_nth_gap(forked.ordinals, offset)
        async with aclosing(_iterate_ended(store, lineage[1:], at)) as older:
            async for stretch in older:
                numbered = list(enumerate(stretch, at))
                at += len(numbered)
                mine = [entry for ordinal, entry in numbered if not holds(forked.ordinals, ordinal)]
                yield mine[: kept - offset]
                offset += min(len(mine), kept - offset)
                if offset == kept:
                    break
    while rows := await store.journal_at_completion(run_id, offset, ROWS_PER_READ):
        for row in rows:
            events = decode_events(row.events)
            yield _entries_of(row, events, offset)
            offset = max(offset, row.completions_before + sum(map(completions, events)))
        await in_task()
        await trio.lowlevel.checkpoint()


def _entries_of(row: JournalRow, events: Iterable[AnyEvent], from_ordinal: int) -> Iterator[ItemEntry]:
    ordinal = row.completions_before
    for event in events:
        count = completions(event)
        if count and ordinal + count > from_ordinal:
            indexes = _ended_items(event)
            for index in indexes[max(from_ordinal - ordinal, 0) :]:
                yield make_entry(index, event, row.at_ms)
        ordinal += count


def _ended_items(event: AnyEvent) -> range:
    match event:
        case ev.ItemsCancelled(first=first, last=last):
            return range(first, last + 1)
        case ev.StepSucceeded(item=item) | ev.ItemSucceeded(item=item):
            return range(item, item + 1)
        case ev.ItemFailed(item=item) | ev.ItemCancelled(item=item):
            return range(item, item + 1)
        case _:
            return range(0)


def make_entry(index: int, event: AnyEvent, at_ms: int) -> ItemEntry:
    """The result that an event gave an item."""
    return ItemEntry(index, make_result(event), format_time(at_ms))


def make_result(event: AnyEvent) -> ItemResult:
    """How the event ended its item, or step."""
    match event:
        case ev.StepSucceeded(value=value) | ev.ItemSucceeded(value=value):
            return ItemResult(Outcome.SUCCESS, value)
        case ev.ItemFailed(error=error) | ev.StepFailed(error=error):
            return ItemResult(Outcome.FAILED, error=make_error(error))
        case ev.ItemCancelled(reason=reason) | ev.ItemsCancelled(reason=reason):
            return ItemResult(Outcome.CANCELLED, reason=reason)
        case _:
            raise AssertionError(f"{type(event).__name__} ends nothing")


def make_error(failure: Failure) -> ItemError:
    """A failure as it is told on the wire."""
    return ItemError(failure.code, failure.message, failure.data)


def how_ended(ref: int) -> ItemRef:
    """What the two low bits of a result chunk's entry say."""
    return ItemRef(ref & 3)


def _value_bytes(entry: ItemEntry) -> memoryview | bytes:
    value = entry.result.value
    return memoryview(value) if isinstance(value, Raw) else b""
