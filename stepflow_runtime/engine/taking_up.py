"""What is read of the store so that items can be taken up: those that wait, and those that another runtime had."""

from __future__ import annotations

from collections.abc import Collection

from stepflow_runtime.engine.facts import RunFacts
from stepflow_runtime.engine.fork import NOTHING, Reuse
from stepflow_runtime.engine.items import find_seqs, revive
from stepflow_runtime.engine.lineage import read_lineage
from stepflow_runtime.engine.loading import read_events, read_inputs
from stepflow_runtime.engine.past import read_reuses
from stepflow_runtime.engine.plan import Plan
from stepflow_runtime.engine.results import seq_of
from stepflow_runtime.engine.run_state import RunState
from stepflow_runtime.engine.suspension import LoadedItem
from stepflow_runtime.model.events import AnyEvent, ItemParked
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.ports import Store


async def read_live_items(
    store: Store, state: RunState
) -> tuple[dict[int, bytes], dict[int, AnyEvent], dict[int, Reuse]]:
    """The inputs of live items, and what their evaluation needs besides."""
    live, spec = state.facts.live, state.spec
    if state.facts.is_terminal:
        return {}, {}, {}
    seqs = [seq for item in live.values() for seq in find_seqs(item)]
    return (
        await read_inputs(store, spec, live),
        await read_events(store, spec.run_id, seqs),
        await read_reuses_of(store, spec, state.plan, live),
    )


async def read_reuses_of(store: Store, spec: RunSpec, plan: Plan, indexes: Collection[int]) -> dict[int, Reuse]:
    """What items of a fork began with; nothing in a run that is none."""
    if spec.fork is None:
        return {}
    return await read_reuses(store, plan, await read_lineage(store, spec), indexes)


async def load_items(
    store: Store, facts: RunFacts, plan: Plan, indexes: Collection[int], through: int
) -> dict[int, LoadedItem]:
    """What `Suspensions.take_up` needs of items that wait, by index.

    Args:
        store, facts, plan: Of their run.
        indexes: The items.
        through: The sequence number of the last event that is durable; what happened to them later is not read.
    """
    assert facts.spec is not None
    run_id = facts.spec.run_id
    seqs = {index: seq_of(ref) for index in indexes if (ref := facts.results.find_parked(index))}
    parked = await read_events(store, run_id, seqs.values())
    wanted: list[int] = []
    for index in indexes:
        item = facts.find(index)
        if item is None and index in seqs:
            event = parked[seqs[index]]
            assert isinstance(event, ItemParked)
            item = revive(index, event.since, event.steps)
        if item is not None:
            wanted += [seq for seq in find_seqs(item) if seq <= through]
    events, inputs = await read_events(store, run_id, wanted), await read_inputs(store, facts.spec, indexes)
    reuses = await read_reuses_of(store, facts.spec, plan, indexes)
    loaded: dict[int, LoadedItem] = {}
    for index in indexes:
        seq = seqs.get(index, 0)
        found = parked[seq] if seq else None
        assert found is None or isinstance(found, ItemParked)
        loaded[index] = LoadedItem(inputs[index], events, found, seq, reuses.get(index, NOTHING))
    return loaded
