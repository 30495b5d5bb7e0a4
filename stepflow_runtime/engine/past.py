"""What items did in the runs that a fork goes back to, read from their journals, and what they re-use of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Final

import trio
from msgspec import Raw

from stepflow_runtime.engine.fork import Past, PastStep, Reuse, choose
from stepflow_runtime.engine.items import read_outcome, read_resume
from stepflow_runtime.engine.lineage import Generation, Lineage, find_home, find_places
from stepflow_runtime.engine.loading import read_events
from stepflow_runtime.engine.plan import Plan
from stepflow_runtime.engine.results import seq_of
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent, decode_events, find_parking
from stepflow_runtime.ports import Store

ROWS_PER_READ: Final = 64

Span = tuple[int, int]
"""The first and the last sequence number between which the events of an item are."""


async def read_reuses(store: Store, plan: Plan, lineage: Lineage, indexes: Collection[int]) -> dict[int, Reuse]:
    """What travelling items of a fork, the youngest of the lineage, begin with."""
    fork = lineage[0].fork
    assert fork is not None
    pasts = await read_pasts(store, plan, lineage, indexes)
    return {index: choose(plan, fork, pasts[index]) for index in indexes}


async def read_pasts(store: Store, plan: Plan, lineage: Lineage, indexes: Collection[int]) -> dict[int, Past]:
    """What travelling items of a fork, the youngest of the lineage, did in the runs before it."""
    homes: dict[int, list[int]] = {}
    for index in indexes:
        homes.setdefault(len(find_home(lineage[1:], index)), []).append(index)
    pasts: dict[int, Past] = {}
    for depth, group in homes.items():
        pasts.update(await _read_home(store, plan, lineage[len(lineage) - depth - 1 :], group))
    return pasts


async def _read_home(store: Store, plan: Plan, lineage: Lineage, indexes: Collection[int]) -> dict[int, Past]:
    """The same for items that were executed in the run before the fork, and ended or stopped there."""
    home = lineage[1]
    spans = await _find_spans(store, lineage, indexes)
    pasts = {index: Past() for index in indexes}
    if spans:
        async for seq, event in _iterate(store, home, list(spans.values())):
            for index in _items_of(event):
                if index in spans and spans[index][0] <= seq <= spans[index][1]:
                    _fold(pasts[index], plan, event)
    again = [index for index, past in pasts.items() if past.reused]
    if again and home.fork is not None:
        older = await read_pasts(store, plan, lineage[1:], again)
        for index in again:
            _inherit(pasts[index], older[index], home.fork.context)
    return pasts


async def _find_spans(store: Store, lineage: Lineage, indexes: Collection[int]) -> dict[int, Span]:
    taken, home = lineage[0], lineage[1]
    assert taken.fork is not None
    assert taken.forked is not None
    until = taken.fork.origin_seq
    begun = dict(taken.forked.begun)
    spans = {index: (begun[index], until) for index in indexes if index in begun}
    places = await find_places(store, (home,), [index for index in indexes if index not in spans])
    ends = {index: seq_of(place.ref) for index, place in places.items() if seq_of(place.ref) <= until}
    events = await read_events(store, home.run_id, ends.values())
    parkings = {index: parking for index, seq in ends.items() if (parking := find_parking(events[seq], index))}
    events.update(await read_events(store, home.run_id, parkings.values()))
    for index, seq in ends.items():
        since = getattr(events[parkings.get(index, seq)], "since", 0)
        if since:
            spans[index] = since, seq
    return spans


async def _iterate(store: Store, home: Generation, spans: Collection[Span]) -> AsyncIterator[tuple[int, AnyEvent]]:
    """The events of all rows in which a span has any, in order."""
    seq = 1
    for first, last in sorted(spans):
        seq, wanted = max(seq, first), 1
        while seq <= last and (rows := await store.journal(home.run_id, seq, wanted)):
            for row in rows:
                for pair in enumerate(decode_events(row.events), row.first_seq):
                    yield pair
            seq, wanted = rows[-1].last_seq + 1, min(wanted * 2, ROWS_PER_READ)
            await trio.lowlevel.checkpoint()


def _items_of(event: AnyEvent) -> Collection[int]:
    match event:
        case ev.ItemsStarted(first=first, last=last) | ev.StepsReused(first=first, last=last):
            return range(first, last + 1)
        case (
            ev.StepStarted(item=item)
            | ev.StepSucceeded(item=item)
            | ev.StepFailed(item=item)
            | ev.StepSuspended(item=item)
            | ev.StepResumed(item=item)
        ):
            return (item,)
        case _:
            return ()


def _fold(past: Past, plan: Plan, event: AnyEvent) -> None:
    match event:
        case ev.ItemsStarted(steps=steps):
            past.begun.update(steps)
        case ev.StepsReused(steps=steps):
            past.reused = steps
        case ev.StepStarted(step=step):
            past.begun.add(step)
        case ev.StepSucceeded(step=step, attempt=attempt):
            outcome = read_outcome(plan, step, event)
            past.steps[step] = PastStep(outcome, attempt, acted=not isinstance(event, ev.StepIdled))
        case ev.StepFailed(step=step, attempt=attempt):
            past.steps[step] = PastStep(read_outcome(plan, step, event), attempt, succeeded=False)
        case ev.StepSuspended(step=step, sleeps=False):
            past.suspended[step] = event
        case ev.StepResumed(step=step):
            past.resumes.setdefault(step, []).append(read_resume(event))
        case _:
            pass


def _inherit(past: Past, older: Past, context: Mapping[str, Raw]) -> None:
    """Adds what an item re-used, as it was there, to what it did."""
    for step in past.reused:
        ended = older.steps.get(step)
        if step in context and (ended is None or not isinstance(ended.outcome, bytes)):
            ended = PastStep(bytes(context[step]), 0)
        if ended is not None:
            past.steps[step] = ended
            past.begun.add(step)
            if step in older.suspended:
                past.suspended[step], past.resumes[step] = older.suspended[step], older.resumes.get(step, [])
