"""How a run goes on after its runtime stopped: what was in flight goes again, as the next attempt. Pure.

What is read for it, and from where, is the business of `recovery`; which items may have taken the runtime down that of
`suspicion`. Those wait for their turn: `begin_turn` is called when it has come.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from stepflow_runtime.engine.attempts import repeat
from stepflow_runtime.engine.commands import AwaitTurn
from stepflow_runtime.engine.fork import NOTHING, Reuse
from stepflow_runtime.engine.items import ItemRecord, restore_evaluation
from stepflow_runtime.engine.plan import Advance
from stepflow_runtime.engine.run_state import RunState
from stepflow_runtime.engine.suspicion import DEFAULT_MAX_STOPS, NOBODY, Suspects, blame, find_held
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent
from stepflow_runtime.model.outcome import Failure


def revive(
    state: RunState,
    inputs: Mapping[int, bytes],
    events: Mapping[int, AnyEvent],
    reuses: Mapping[int, Reuse],
    now_ms: int,
    *,
    suspects: Suspects = NOBODY,
    held_with: Collection[int] = (),
    max_stops: int = DEFAULT_MAX_STOPS,
) -> None:
    """Takes a run up again.

    Args:
        state: The run, with the facts that its journal tells.
        inputs: The inputs of all live items.
        events: Those that `items.find_seqs` names for the live items, by sequence number.
        reuses: What live items of a fork began with, by index.
        now_ms: Wall time.
        suspects: Items that may have taken the runtime down, see `suspicion`.
        held_with: Items whose sub-runs have items that wait for their turn.
        max_stops: An item that was suspect so often in a row is failed.
    """
    facts = state.facts
    if facts.is_terminal:
        return
    state.durable_total = facts.progress.total
    held = find_held(facts.live.values(), suspects.counted, held_with)
    state.record(ev.RunRecovered(facts.progress.started_through, suspects.counted, held, suspects.spared))
    state.waiting.begin_again()
    for item in list(facts.live.values()):
        if item.index in facts.live:  # the failure of one before it may have stopped the run
            value, reuse = inputs[item.index], reuses.get(item.index, NOTHING)
            advance = restore_evaluation(item, state.plan, value, state.spec.variables, events, reuse)
            _go_on(state, item, advance, max_stops, now_ms)
    if state.is_stopping:
        state.cancel_pending(facts.progress.cancel_reason)
    state.start_items()


def _go_on(state: RunState, item: ItemRecord, advance: Advance, max_stops: int, now_ms: int) -> None:
    if item.cancelling:
        state.cancel_item(item)
        return
    if advance.failed or advance.result is not None:
        state.follow(item, Advance(failed=advance.failed, result=advance.result))
    if advance.result is not None:
        return
    if failure := blame(item, max_stops):
        _give_up(state, item, failure)
    elif item.held:
        state.after.append(AwaitTurn(item.index, item.stops))
    else:
        repeat(state, item, now_ms)
        state.begin_steps(item, [ready for ready in advance.ready if ready[0] not in item.steps])


def _give_up(state: RunState, item: ItemRecord, failure: Failure) -> None:
    for step in item.active:
        state.record(ev.StepFailed(item.index, step, item.steps[step].attempt, failure))
    state.end_item(item, failure)


def abandon(state: RunState, failure: Failure) -> None:
    """Ends a run that cannot be taken up: items that had begun fail, and those that had not are cancelled."""
    for item in list(state.facts.live.values()):
        if item.index not in state.facts.live:  # the failure of one before it stopped the run
            continue
        if item.cancelling:
            state.cancel_item(item)
        else:
            _give_up(state, item, failure)
    state.stop(failure.message)
    state.end_run_if_over()


def begin_turn(state: RunState, index: int, now_ms: int) -> bool:
    """The turn of an item has come that waited for it: it goes again. Tells whether it is still there to do so."""
    item = state.facts.live.get(index)
    if item is None or not item.held:
        return False
    repeat(state, item, now_ms)
    return True
