"""A run and those that it was forked from, read as one: where each of its items is recorded.

An item of a fork that does not travel is recorded in the run before it, if it did not travel there either in the one
before that, and so on. Nothing of it is copied; what is read here is a reference to the other run's journal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import accumulate, groupby
from typing import Final, NamedTuple

from msgspec import Struct

from stepflow_runtime.engine.fork import clip, count_below, holds
from stepflow_runtime.engine.loading import decode_row, read_events
from stepflow_runtime.engine.results import decode_refs, seq_of
from stepflow_runtime.model.events import AnyEvent, ItemsCancelled, RunForked, completions
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.spec import Fork, RunSpec
from stepflow_runtime.ports import SEGMENT_ITEMS, ItemRef, JournalRow, Store


class Place(NamedTuple):
    """Where an item is recorded: the entry `ref` (see `ResultChunk`) of the run `run_id`."""

    run_id: RunId
    ref: int


class Generation(Struct, frozen=True):
    """One run of a lineage; what it was forked with, if it was."""

    run_id: RunId
    fork: Fork | None = None
    forked: RunForked | None = None

    def keeps(self, index: int) -> bool:
        """Whether an item has the result that it has in the generation before."""
        return self.forked is not None and not holds(self.forked.travelling, index)


Lineage = tuple[Generation, ...]
"""The youngest first."""


async def read_lineage(store: Store, spec: RunSpec) -> Lineage:
    """The run, which must be durable, and all that it goes back to. They are there as long as it is."""
    if spec.fork is None:
        return (Generation(spec.run_id),)
    generations = [Generation(spec.run_id, spec.fork, await _read_forked(store, spec.run_id))]
    for run_id in spec.fork.lineage[:-1]:
        record = await store.run(run_id)
        assert record is not None, f"run {run_id} is needed by its fork {spec.run_id}"
        generations.append(Generation(run_id, record.spec.fork, await _read_forked(store, run_id)))
    return *generations, Generation(spec.fork.lineage[-1])


async def _read_forked(store: Store, run_id: RunId) -> RunForked:
    event = await read_event(store, run_id, 2)
    assert isinstance(event, RunForked)
    return event


async def read_event(store: Store, run_id: RunId, seq: int) -> AnyEvent:
    """One event.

    Raises:
        StoreCorrupt: It was damaged.
    """
    return (await read_events(store, run_id, (seq,)))[seq]


ANYHOW: Final = frozenset(ItemRef)
ENDED: Final = ANYHOW - {ItemRef.OPEN}


async def read_chunk(store: Store, lineage: Lineage, chunk: int, how: Collection[int] = ANYHOW) -> dict[int, Place]:
    """Where the items of a result chunk are recorded, by index: those that have ended, or are parked (`OPEN`)."""
    base = chunk * SEGMENT_ITEMS
    places: dict[int, Place] = {}
    wanted = [(base, base + SEGMENT_ITEMS - 1)]
    for generation in lineage:
        if not wanted:
            break
        stored = await store.chunks(generation.run_id, chunk, chunk)
        refs = decode_refs(stored[0].refs) if stored else ()
        forked = generation.forked
        if forked is None:
            here, wanted = wanted, []
        else:
            here = [part for stretch in wanted for part in clip(forked.travelling, *stretch)]
            wanted = [part for stretch in wanted for part in _cut(stretch, clip(forked.travelling, *stretch))]
        for first, last in here:
            for index, ref in enumerate(refs[first - base : last + 1 - base], first):
                if ref and ref & 3 in how:
                    places[index] = Place(generation.run_id, ref)
    return places if len(lineage) == 1 else dict(sorted(places.items()))


def _cut(stretch: tuple[int, int], holes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What is left of a stretch without the holes in it."""
    left, at = list[tuple[int, int]](), stretch[0]
    for first, last in holes:
        if at < first:
            left.append((at, first - 1))
        at = last + 1
    return [*left, (at, stretch[1])] if at <= stretch[1] else left


async def find_places(store: Store, lineage: Lineage, indexes: Iterable[int]) -> dict[int, Place]:
    """Where some items are recorded, by index; without those that have neither ended nor are parked."""
    places: dict[int, Place] = {}
    for chunk, group in groupby(sorted(indexes), lambda index: index // SEGMENT_ITEMS):
        found = await read_chunk(store, lineage, chunk)
        places.update((index, found[index]) for index in group if index in found)
    return places


def find_home(lineage: Lineage, index: int) -> Lineage:
    """The part of a lineage that begins with the run in which an item was executed last, if it was."""
    for at, generation in enumerate(lineage):
        if not generation.keeps(index):
            return lineage[at:]
    raise AssertionError("the oldest generation keeps nothing")


async def find_ordinals(store: Store, lineage: Lineage, places: Mapping[int, Place]) -> list[int]:
    """How many items of the lineage's youngest run had ended before each of these, which have ended too; ascending."""
    ordinals: list[int] = []
    run_id, last = RunId(""), JournalRow(0, 0, 0, 0, b"")
    events, ends = list[AnyEvent](), list[int]()
    for index, place in sorted(places.items(), key=lambda found: (found[1].run_id, seq_of(found[1].ref))):
        seq = seq_of(place.ref)
        if place.run_id != run_id or not last.first_seq <= seq <= last.last_seq:
            run_id = place.run_id
            (last,) = await store.journal(run_id, seq, 1)
            events = decode_row(run_id, last)
            ends = list(accumulate(map(completions, events), initial=last.completions_before))
        event = events[seq - last.first_seq]
        ordinal = ends[seq - last.first_seq]
        if isinstance(event, ItemsCancelled):
            ordinal += index - event.first
        home = find_home(lineage, index)
        for generation in reversed(lineage[: len(lineage) - len(home)]):
            assert generation.forked is not None
            ordinal -= count_below(generation.forked.ordinals, ordinal)
        ordinals.append(ordinal)
    return sorted(ordinals)
