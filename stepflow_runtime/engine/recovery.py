"""Takes unfinished runs up again after a restart: snapshot, then the journal's tail, then what was in flight."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Final

import msgspec
from msgspec import Struct

from protocol.errors import ItemErrorCode, RpcError
from protocol.log import Logger
from stepflow_runtime.engine.active_run import ActiveRun
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.facts import RunFacts
from stepflow_runtime.engine.folds import fold
from stepflow_runtime.engine.loading import decode_row, iterate_events, lose_events
from stepflow_runtime.engine.patience import insist
from stepflow_runtime.engine.plan import compile_plan
from stepflow_runtime.engine.programs import Programs
from stepflow_runtime.engine.results import seq_of
from stepflow_runtime.engine.retry import RetryPolicy
from stepflow_runtime.engine.revival import abandon, revive
from stepflow_runtime.engine.run_state import RunState
from stepflow_runtime.engine.salvage import Salvaged, describe_damage, salvage_facts, write_off
from stepflow_runtime.engine.snapshot import restore_facts
from stepflow_runtime.engine.suspicion import DEFAULT_MAX_STOPS, NOBODY, StepOfItem, Suspects, find_at_work, suspect
from stepflow_runtime.engine.taking_up import read_live_items
from stepflow_runtime.model.events import ItemParked
from stepflow_runtime.model.flow import parse_flow
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import Failure
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.ports import SEGMENT_ITEMS, Clock, ResultChunk, Store, StoreCorrupt

ROWS_PER_PAGE = 256

log = Logger(__name__)


class Stop(Struct, frozen=True):
    """How the runtime before this one stopped, and what that means.

    Args:
        is_clean: Whether it ended in order, and not by what it executed.
        max_unclean_stops: An item that may have caused so many stops in a row is failed.
    """

    is_clean: bool = True
    max_unclean_stops: int = DEFAULT_MAX_STOPS


ORDERLY: Final = Stop()

NO_PLAN: Final = compile_plan(parse_flow({"steps": [], "output": None}))
"""Of a run whose flow cannot be read: it ends, and evaluates nothing."""


async def recover_runs(
    executor: Executor, store: Store, programs: Programs, clock: Clock, last_stop: Stop = ORDERLY
) -> int:
    """Hands every unfinished run to the executor and queues unsettled messages; returns how many runs there were."""
    unfinished = await insist("what is unfinished", partial(_load_unfinished, store))
    delegating: dict[RunId, set[StepOfItem]] = defaultdict(set)
    held_with: dict[RunId, set[int]] = defaultdict(set)
    for facts in unfinished:
        parent = _spec(facts).parent
        if parent is not None and parent.item_index is not None and parent.step_id is not None:
            delegating[parent.run_id].add((parent.item_index, parent.step_id))
    suspects = _find_suspects(unfinished, delegating, clock.wall_ms(), last_stop)
    deepest_first = sorted(unfinished, key=lambda facts: _spec(facts).depth, reverse=True)
    for facts in deepest_first:  # whether an item waits hangs on its sub-runs
        committed = copy.copy(facts.progress)
        state = await insist("a run", partial(_restore_run, programs, executor.policy, facts))
        spec, now_ms = state.spec, clock.wall_ms()
        try:
            needed = await insist("a run", partial(read_live_items, store, state))
        except StoreCorrupt as error:
            log.error("run cannot go on: it was damaged", run_id=spec.run_id, reason=str(error))
            abandon(state, describe_damage(error))
        else:
            held = held_with[spec.run_id]
            revive(
                state,
                *needed,
                now_ms,
                suspects=suspects.get(spec.run_id, NOBODY),
                held_with=held,
                max_stops=last_stop.max_unclean_stops,
            )
        parent = spec.parent
        if parent and parent.item_index is not None and any(item.held for item in facts.live.values()):
            held_with[parent.run_id].add(parent.item_index)
        run = ActiveRun(state, store.lease(spec.root_run_id), committed)
        try:
            await insist("a run", partial(watch_parked_items, store, run))
        except StoreCorrupt as error:
            log.error("run cannot go on: it was damaged", run_id=spec.run_id, reason=str(error))
            state.stop(describe_damage(error).message)
        executor.adopt(run)
    for message in await insist("the cancellation of sub-runs", store.outbox):
        executor.deliver(message)
    executor.end_turn()
    return len(unfinished)


def _find_suspects(
    unfinished: Iterable[RunFacts], delegating: dict[RunId, set[StepOfItem]], now_ms: int, last_stop: Stop
) -> dict[RunId, Suspects]:
    if last_stop.is_clean:
        return {}
    at_work = {
        run_id: find_at_work(facts.live.values(), delegating[run_id], now_ms)
        for facts in unfinished
        for run_id in [_spec(facts).run_id]
    }
    return suspect(at_work, last_stop.max_unclean_stops)


async def _load_unfinished(store: Store) -> list[RunFacts]:
    return [await _load_or_salvage(store, run_id) for run_id in await store.unfinished()]


async def _load_or_salvage(store: Store, run_id: RunId) -> RunFacts:
    try:
        return await load_facts(store, run_id)
    except StoreCorrupt as error:
        log.error("run cannot go on: it was damaged", run_id=run_id, reason=str(error))
        return await salvage_facts(store, run_id, error)


def _spec(facts: RunFacts) -> RunSpec:
    assert facts.spec is not None
    return facts.spec


async def load_facts(store: Store, run_id: RunId) -> RunFacts:
    """What the journal of a run says, from its last snapshot on.

    Raises:
        StoreCorrupt: It was damaged.
    """
    facts = await _read_snapshot(store, run_id) or RunFacts()
    await fold_journal(store, run_id, facts)
    facts.restore_results([chunk async for chunk in _read_open_chunks(store, run_id, facts)])
    return facts


async def _read_snapshot(store: Store, run_id: RunId) -> RunFacts | None:
    """The last snapshot of a run. One that was damaged is none: the whole journal says the same."""
    saved = await store.snapshot(run_id)
    if saved is None:
        return None
    try:
        return restore_facts(*saved)
    except msgspec.DecodeError as error:
        log.warning("snapshot was damaged: the whole journal is read", run_id=run_id, reason=str(error))
        return None


async def _read_open_chunks(store: Store, run_id: RunId, facts: RunFacts) -> AsyncIterator[ResultChunk]:
    indexes = (*facts.live, *facts.queued, *facts.skipped, facts.next_item)
    numbers = {index // SEGMENT_ITEMS for index in indexes}
    if facts.progress.suspended or facts.progress.sleeping:  # they may be anywhere
        numbers.update(range(facts.next_item // SEGMENT_ITEMS))
    for number in sorted(numbers):
        for chunk in await store.chunks(run_id, number, number):
            yield chunk


async def fold_journal(store: Store, run_id: RunId, facts: RunFacts) -> None:
    """Folds all rows after `facts.seq`.

    Raises:
        StoreCorrupt: One of them was damaged; those before it are folded.
    """
    while rows := await store.journal(run_id, facts.seq + 1, ROWS_PER_PAGE):
        for row in rows:
            if row.first_seq > facts.seq + 1:
                raise lose_events(run_id, facts.seq + 1, "they are gone")
            for event in decode_row(run_id, row)[facts.seq + 1 - row.first_seq :]:
                fold(facts, event)
            facts.stamp(row.at_ms)


async def _restore_run(programs: Programs, policy: RetryPolicy, facts: RunFacts) -> RunState:
    """The run as its journal tells it; if its flow cannot be read any more, it ends with that (FAULTS 30)."""
    assert facts.spec is not None
    spec = facts.spec
    if isinstance(facts, Salvaged):
        state = RunState(facts, NO_PLAN, policy)
        write_off(state, facts)
        return state
    try:
        program = await programs.of(spec)
    except RpcError as error:
        log.error("run cannot go on: its flow is unreadable", run_id=spec.run_id, reason=str(error))
        message = f"the flow {spec.flow_id} of this run could not be read when the runtime started: {error.message}"
        state = RunState(facts, NO_PLAN, policy)
        abandon(state, Failure(ItemErrorCode.INTERNAL, message, {"blobId": spec.flow_id}))
        return state
    return RunState(facts, program.plan, policy, program.check_input)


async def watch_parked_items(store: Store, run: ActiveRun) -> None:
    """Notes until when parked items wait, and under which tokens."""
    state, facts = run.state, run.state.facts
    state.waiting.begin_again()
    seqs = [seq_of(ref) for _, ref in facts.results.iterate_parked()]
    async for seq, event in iterate_events(store, run.spec.run_id, seqs):
        assert isinstance(event, ItemParked)
        for step in event.steps:
            if step.suspended and not step.ended:
                is_awake = step.sleeps and seq < facts.awake_through
                state.waiting.watch(event.item, 1 if is_awake else step.due_ms, step.sleeps)
                run.note_token(event.item, step.id, step.token)
