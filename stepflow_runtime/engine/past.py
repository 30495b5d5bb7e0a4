"""What items did in the runs that a fork goes back to, read from their journals, and what they re-use of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, Final

import trio
from msgspec import Raw

from stepflow_runtime.engine.fork import Choice, Past, PastStep, Reuse
from stepflow_runtime.engine.items import read_outcome, read_resume
from stepflow_runtime.engine.lineage import Generation, Lineage, find_home, find_places
from stepflow_runtime.engine.loading import decode_row, lose_events, read_events
from stepflow_runtime.engine.plan import Plan
from stepflow_runtime.engine.results import seq_of
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent, find_parking
from stepflow_runtime.ports import Store

ROWS_PER_READ: Final = 64

EVENTS_AT_ONCE: Final = 256
"""Events that are folded before others have their turn."""

Span = tuple[int, int]
"""The first and the last sequence number between which the events of an item are."""


async def read_reuses(store: Store, plan: Plan, lineage: Lineage, indexes: Collection[int]) -> dict[int, Reuse]:
    """What travelling items of a fork, the youngest of the lineage, begin with."""
    fork = lineage[0].fork
    assert fork is not None
    pasts, choice = await read_pasts(store, plan, lineage, indexes), Choice(plan, fork)
    return {index: choice.of(pasts[index]) for index in indexes}


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
        fold = _Fold(plan, pasts, spans)
        async with aclosing(_iterate(store, home, list(spans.values()))) as rows:
            async for first_seq, events in rows:
                for seq, event in enumerate(events, first_seq):
                    fold.take(seq, event)
                    if seq % EVENTS_AT_ONCE == 0:
                        await trio.lowlevel.checkpoint()
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


async def _iterate(
    store: Store, home: Generation, spans: Collection[Span]
) -> AsyncGenerator[tuple[int, list[AnyEvent]]]:
    """The rows in which a span has events, in order: the first sequence number of each, and its events.

    Raises:
        StoreCorrupt: One of them was damaged.
    """
    seq = 1
    for first, last in sorted(spans):
        seq, wanted = max(seq, first), 1
        while seq <= last and (rows := await store.journal(home.run_id, seq, wanted)):
            for row in rows:
                if row.first_seq > seq:
                    raise lose_events(home.run_id, seq, "they are gone")
                yield row.first_seq, decode_row(home.run_id, row)
                seq = row.last_seq + 1
            wanted = min(wanted * 2, ROWS_PER_READ)
            await trio.lowlevel.checkpoint()


class _Fold:
    """Folds events into what the items did whose spans they are in.

    Args:
        plan: Of the run.
        pasts: By item.
        spans: By item, if it began at all.
    """

    def __init__(self, plan: Plan, pasts: Mapping[int, Past], spans: Mapping[int, Span]) -> None:
        self._plan = plan
        self._pasts = pasts
        self._spans = spans

    def take(self, seq: int, event: AnyEvent) -> None:
        """Takes in an event."""
        fold = self._FOLDS.get(type(event))
        if fold is not None:
            fold(self, seq, event)

    def _find(self, seq: int, item: int) -> Past | None:
        span = self._spans.get(item)
        return self._pasts[item] if span is not None and span[0] <= seq <= span[1] else None

    def _items_started(self, seq: int, event: ev.ItemsStarted) -> None:
        for item in range(event.first, event.last + 1):
            if (past := self._find(seq, item)) is not None:
                past.begun.update(event.steps)

    def _steps_reused(self, seq: int, event: ev.StepsReused) -> None:
        for item in range(event.first, event.last + 1):
            if (past := self._find(seq, item)) is not None:
                past.reused = event.steps

    def _step_started(self, seq: int, event: ev.StepStarted) -> None:
        if (past := self._find(seq, event.item)) is not None:
            past.begun.add(event.step)

    def _step_succeeded(self, seq: int, event: ev.StepSucceeded) -> None:
        if (past := self._find(seq, event.item)) is not None:
            acted = type(event) is not ev.StepIdled
            past.steps[event.step] = PastStep(bytes(event.value), event.attempt, acted=acted)

    def _step_failed(self, seq: int, event: ev.StepFailed) -> None:
        if (past := self._find(seq, event.item)) is not None:
            outcome = read_outcome(self._plan, event.step, event)
            past.steps[event.step] = PastStep(outcome, event.attempt, succeeded=False)

    def _step_suspended(self, seq: int, event: ev.StepSuspended) -> None:
        if not event.sleeps and (past := self._find(seq, event.item)) is not None:
            past.suspended[event.step] = event

    def _step_resumed(self, seq: int, event: ev.StepResumed) -> None:
        if (past := self._find(seq, event.item)) is not None:
            past.resumes.setdefault(event.step, []).append(read_resume(event))

    _FOLDS: ClassVar[dict[type[AnyEvent], Callable[[_Fold, int, Any], None]]] = {
        ev.ItemsStarted: _items_started,
        ev.StepsReused: _steps_reused,
        ev.StepStarted: _step_started,
        ev.StepSucceeded: _step_succeeded,
        ev.StepIdled: _step_succeeded,
        ev.StepFailed: _step_failed,
        ev.StepSuspended: _step_suspended,
        ev.StepResumed: _step_resumed,
    }


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
