"""How a run, or some of its items, is asked to end. Pure.

A request is not yet an end: what is in flight is interrupted and may still answer; what has not begun is cancelled at
once. When the grace is over the shell calls `end_grace`. That a run stops by itself is the business of `run_state`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from stepflow_runtime.engine.commands import Effect, EffectKind, Interrupt, UnclaimedChildren
from stepflow_runtime.engine.items import ItemRecord
from stepflow_runtime.engine.run_state import RunState
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.ids import RunId


def request_cancel(state: RunState, reason: str | None, items: Iterable[int] | None = None) -> None:
    """Stops scheduling and asks for the end of what is in flight; `end_grace` ends what has not ended by then.

    Args:
        state: The run.
        reason: Why, for people.
        items: Those that are meant; the whole run if absent.
    """
    if state.facts.is_terminal:
        return
    if items is None:
        _cancel_run(state, reason)
    else:
        _cancel_items(state, reason, tuple(sorted(set(items))))
    state.end_run_if_over()


def _cancel_run(state: RunState, reason: str | None) -> None:
    state.record(ev.CancelRequested(reason, None))
    state.cancel_children(reason, None)
    state.cancel_pending(reason)
    state.waiting.cancel_parked(reason)
    for item in [*state.facts.live.values(), *state.facts.queued.values()]:
        _interrupt(state, item)


def _cancel_items(state: RunState, reason: str | None, items: tuple[int, ...]) -> None:
    facts = state.facts
    state.record(ev.CancelRequested(reason, items))
    live = [item for index in items if (item := facts.find(index)) is not None]
    parents = [*state.waiting.cancel_parked(reason, items), *(item.index for item in live)]
    if parents:  # an item that has ended leaves its sub-runs
        state.cancel_children(reason, tuple(parents))
    for index in items:
        if facts.next_item <= index < facts.progress.total and facts.is_to_begin(index):
            state.record(ev.ItemCancelled(index, reason, facts.seq + 1))
    for item in live:
        _interrupt(state, item)


def _interrupt(state: RunState, item: ItemRecord) -> None:
    in_flight = [step.execution for step in item.steps.values() if step.execution is not None and not step.ended]
    if not in_flight:
        state.cancel_item(item)
    state.after.extend(Interrupt(execution) for execution in in_flight)


def end_grace(state: RunState, items: Iterable[int] | None = None) -> None:
    """Ends those of the items (all by default) whose cancellation was asked for and that have not ended since."""
    live = state.facts.live
    for index in list(live) if items is None else items:
        item = live.get(index)
        if item is not None and item.cancelling:
            state.cancel_item(item)
    state.end_run_if_over()


def disown_children(state: RunState, index: int, step: str, attempt: int, claimed: Iterable[RunId]) -> None:
    """After a step executed again has ended: sub-runs that only earlier attempts submitted are nobody's now."""
    if state.current(index, step, attempt + 1) is None:
        body = msgspec.json.encode(UnclaimedChildren(index, step, list(claimed)))
        state.effects.append(Effect(EffectKind.CANCEL_UNCLAIMED, body))
