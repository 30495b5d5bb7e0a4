"""Takes unfinished runs up again after a restart: snapshot, then the journal's tail, then what was in flight."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import structlog

from protocol.errors import RpcError
from stepflow_runtime.engine.active_run import ActiveRun
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.facts import RunFacts
from stepflow_runtime.engine.inputs import split_segment
from stepflow_runtime.engine.programs import Programs
from stepflow_runtime.engine.run_state import RunState
from stepflow_runtime.model.events import AnyEvent, decode_events
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import SEGMENT_ITEMS, Clock, JournalRow, Store

ROWS_PER_PAGE = 256

log = structlog.get_logger(__name__)


async def recover_runs(executor: Executor, store: Store, programs: Programs, clock: Clock) -> int:
    """Hands every unfinished run to the executor and queues unsettled messages; returns how many runs there were."""
    run_ids = await store.unfinished()
    for run_id in run_ids:
        facts = await load_facts(store, run_id)
        run = await _restore_run(executor, store, programs, clock, facts)
        if run is not None:
            executor.adopt(run)
    for message in await store.outbox():
        executor.deliver(message)
    executor.end_turn()
    return len(run_ids)


async def load_facts(store: Store, run_id: RunId) -> RunFacts:
    """What the journal of a run says, from its last snapshot on."""
    saved = await store.snapshot(run_id)
    facts = RunFacts.restore(*saved) if saved is not None else RunFacts()
    await fold_journal(store, run_id, facts)
    open_chunks = {index // SEGMENT_ITEMS for index in (*facts.live, *facts.skipped, facts.next_item)}
    facts.restore_results(
        [chunk for number in sorted(open_chunks) for chunk in await store.chunks(run_id, number, number)]
    )
    return facts


async def fold_journal(store: Store, run_id: RunId, facts: RunFacts) -> None:
    """Folds all rows after `facts.seq`."""
    while rows := await store.journal(run_id, facts.seq + 1, ROWS_PER_PAGE):
        for row in rows:
            for event in decode_events(row.events)[facts.seq + 1 - row.first_seq :]:
                facts.fold(event)
            facts.stamp(row.at_ms)


async def _restore_run(
    executor: Executor, store: Store, programs: Programs, clock: Clock, facts: RunFacts
) -> ActiveRun | None:
    assert facts.spec is not None
    spec = facts.spec
    try:
        program = await programs.get(spec.flow_id, spec.overrides)
    except RpcError as error:
        log.error("run cannot go on: its flow is unreadable", run_id=spec.run_id, reason=str(error))
        return None
    committed = copy.copy(facts.progress)
    inputs = await _read_inputs(store, spec.run_id, facts.live)
    ended = sorted(record.ended for item in facts.live.values() for record in item.steps.values() if record.ended)
    outcomes = await _read_events(store, spec.run_id, ended)
    state = RunState(facts, program.plan, executor.policy, program.check_input)
    state.recover(inputs, outcomes, clock.wall_ms())
    return ActiveRun(state, store.lease(spec.root_run_id), committed)


async def _read_inputs(store: Store, run_id: RunId, indexes: Iterable[int]) -> dict[int, bytes]:
    inputs: dict[int, bytes] = {}
    values: list[bytes] = []
    first = 0
    for index in sorted(indexes):
        if not first <= index < first + len(values):
            segment = await store.inputs(run_id, index)
            assert segment is not None, f"run {run_id} has no input {index}"
            first, values = segment.first_index, split_segment(segment)
        inputs[index] = values[index - first]
    return inputs


async def _read_events(store: Store, run_id: RunId, seqs: list[int]) -> dict[int, AnyEvent]:
    events: dict[int, AnyEvent] = {}
    row: JournalRow | None = None
    decoded: list[AnyEvent] = []
    for seq in seqs:
        if row is None or seq > row.last_seq:
            (row,) = await store.journal(run_id, seq, 1)
            decoded = decode_events(row.events)
        events[seq] = decoded[seq - row.first_seq]
    return events
