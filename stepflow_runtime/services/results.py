"""Results of a run's items, read from its journal: by index through result chunks, by completion in commit order."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from itertools import groupby
from typing import Final

import trio
from msgspec import Raw, Struct

from protocol.types import ItemEntry, ItemError, ItemResult, Outcome
from stepflow_runtime.engine.results import decode_refs, ref_of
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent, completions, decode_events
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import Failure
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
    """Events of one run by their sequence number, each row decoded once while it is passed."""

    def __init__(self, store: Store, run_id: RunId) -> None:
        self._store = store
        self._run_id = run_id
        self._rows: list[JournalRow] = []
        self._row: JournalRow | None = None
        self._events: Sequence[AnyEvent] = ()

    async def event(self, seq: int) -> tuple[AnyEvent, int]:
        """An event and the wall time of its commit; cheap when asked in ascending order."""
        row = self._row
        if row is None or not row.first_seq <= seq <= row.last_seq:
            row = next((row for row in self._rows if row.first_seq <= seq <= row.last_seq), None)
            if row is None:
                self._rows = await self._store.journal(self._run_id, seq, ROWS_PER_READ)
                row = self._rows[0]
            self._row, self._events = row, decode_events(row.events)
        return self._events[seq - row.first_seq], row.at_ms


async def read_by_index(store: Store, run_id: RunId, offset: int, limit: int, total: int, max_bytes: int) -> Page:
    """The results of ended items from index `offset` on.

    Args:
        limit: At most so many results.
        total: Items of the run.
        max_bytes: About how large the answer may get; at least one result is given.
    """
    entries: list[ItemEntry] = []
    budget = max_bytes
    async with aclosing(iterate_refs(store, run_id, offset, total)) as chunks:
        async for refs in chunks:
            found = await _read_entries(store, run_id, refs[: limit - len(entries) + 1])
            for entry in found:
                size = ENTRY_OVERHEAD + len(_value_bytes(entry))
                if entries and (len(entries) >= limit or budget < size):
                    return Page(entries, entry.item_index)
                entries.append(entry)
                budget -= size
    return Page(entries)


async def iterate_refs(store: Store, run_id: RunId, offset: int, total: int) -> AsyncGenerator[list[tuple[int, int]]]:
    """`(index, ref)` of the ended items from `offset` on, a chunk at a time; see `ItemRef`."""
    first = offset // SEGMENT_ITEMS
    for number in range(first, (total - 1) // SEGMENT_ITEMS + 1 if total else 0):
        if number > first:
            await trio.lowlevel.checkpoint()
        for chunk in await store.chunks(run_id, number, number):
            base = number * SEGMENT_ITEMS
            refs = enumerate(decode_refs(chunk.refs), base)
            yield [(index, ref) for index, ref in refs if ref & 3 and index >= offset]


async def find_ends(store: Store, run_id: RunId, items: Iterable[int]) -> dict[int, ItemRef]:
    """How each of some items has ended."""
    ends: dict[int, ItemRef] = {}
    for number, indexes in groupby(sorted(items), lambda index: index // SEGMENT_ITEMS):
        chunks = await store.chunks(run_id, number, number)
        refs = decode_refs(chunks[0].refs) if chunks else ()
        ends.update((index, ItemRef(ref_of(refs, index) & 3)) for index in indexes)
    return ends


async def _read_entries(store: Store, run_id: RunId, refs: list[tuple[int, int]]) -> list[ItemEntry]:
    journal = Journal(store, run_id)
    entries: dict[int, ItemEntry] = {}
    for index, ref in sorted(refs, key=lambda pair: pair[1]):
        event, at_ms = await journal.event(ref >> 2)
        entries[index] = make_entry(index, event, at_ms)
    return [entries[index] for index, _ in refs]


async def read_by_completion(store: Store, run_id: RunId, offset: int, limit: int, max_bytes: int) -> Page:
    """Results in the order in which their items ended, from the completion ordinal `offset` on."""
    entries: list[ItemEntry] = []
    budget = max_bytes
    ordinal = offset
    while rows := await store.journal_at_completion(run_id, ordinal, ROWS_PER_READ):
        for row in rows:
            for entry in _entries_of(row, ordinal):
                size = ENTRY_OVERHEAD + len(_value_bytes(entry))
                if entries and (len(entries) >= limit or budget < size):
                    return Page(entries, ordinal)
                entries.append(entry)
                budget -= size
                ordinal += 1
        if ordinal == offset:
            break
        offset = ordinal
        await trio.lowlevel.checkpoint()
    return Page(entries)


def _entries_of(row: JournalRow, from_ordinal: int) -> Iterator[ItemEntry]:
    ordinal = row.completions_before
    for event in decode_events(row.events):
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
