"""How a run ends whose journal or inputs were damaged: with what its projection says of it (FAULTS 30).

What has ended stays as it is. Nothing of the rest can be known for sure, so it ends too: the items that seem to have
begun fail, the others are cancelled. `recovery` is above.
"""

from __future__ import annotations

import copy
from itertools import islice

from protocol.errors import ItemErrorCode
from protocol.runs import RunState as RunStatus
from stepflow_runtime.engine.facts import RunFacts
from stepflow_runtime.engine.fork import make_stretches
from stepflow_runtime.engine.loading import decode_row
from stepflow_runtime.engine.results import ENDED, decode_refs, ref_of
from stepflow_runtime.engine.run_state import RunState
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import Stretches
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import Failure
from stepflow_runtime.ports import SEGMENT_ITEMS, RunRecord, Store, StoreCorrupt


class Salvaged(RunFacts):
    """Of a run whose journal cannot be folded: what can be known without.

    Attributes:
        failure: Why it cannot.
        begun: Items that have not ended and seem to have begun.
        left: The others that have not ended.
    """

    __slots__ = ("begun", "failure", "left")

    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self.failure = failure
        self.begun: list[int] = []
        self.left: list[int] = []


def describe_damage(error: StoreCorrupt) -> Failure:
    """Why an item fails of a run that was damaged."""
    return Failure(ItemErrorCode.INTERNAL, f"this run cannot go on: {error}", {"reason": "storeCorrupt"})


async def salvage_facts(store: Store, run_id: RunId, error: StoreCorrupt) -> Salvaged:
    """What the projection says of a run.

    Args:
        store: Holds it.
        run_id: The run.
        error: What is wrong with its journal.
    """
    record = await store.run(run_id)
    assert record is not None
    facts = Salvaged(describe_damage(error))
    facts.spec, facts.progress, facts.seq = record.spec, copy.copy(record.progress), record.progress.seq
    chunks = await store.chunks(run_id, 0, facts.progress.total // SEGMENT_ITEMS)
    facts.restore_results(chunks)
    refs = {chunk.chunk: decode_refs(chunk.refs) for chunk in chunks}
    unended = [
        index
        for first, last in await _find_own_items(store, record)
        for index in range(first, last + 1)
        if not ref_of(refs.get(index // SEGMENT_ITEMS, ()), index) & ENDED
    ]
    begun = set(islice((index for index in unended if not facts.results.find_parked(index)), facts.progress.running))
    facts.begun, facts.left = sorted(begun), [index for index in unended if index not in begun]
    facts.progress.running = facts.progress.suspended = facts.progress.sleeping = 0
    return facts


async def _find_own_items(store: Store, record: RunRecord) -> Stretches:
    """All items; of a fork those that go again, if its first events can be read."""
    if record.spec.fork is None:
        return ((0, record.progress.total - 1),)
    try:
        rows = await store.journal(record.spec.run_id, 1, 1)
        events = [event for row in rows for event in decode_row(record.spec.run_id, row)]
    except StoreCorrupt:
        return ()
    return next((event.travelling for event in events if isinstance(event, ev.RunForked)), ())


def write_off(state: RunState, facts: Salvaged) -> None:
    """Ends a run that was salvaged."""
    reason = facts.failure.message
    state.record(ev.RunStopped(reason))
    for index in facts.begun:
        state.record(ev.ItemFailed(index, facts.failure, 1))
    for first, last in make_stretches(facts.left):
        state.record(ev.ItemsCancelled(first, last, reason))
    state.cancel_children(reason, None)
    state.record(ev.RunCompleted(RunStatus.FAILED))
