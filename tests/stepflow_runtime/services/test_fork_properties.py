"""Whatever a flow is, however its items end: a fork that changes nothing gives the same, and executes what it must."""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from protocol.errors import ErrorCode, RpcError
from protocol.runs import ResultOrder, RunStatus
from stepflow_runtime.engine.fork import find_dependants
from stepflow_runtime.engine.plan import compile_plan
from stepflow_runtime.model.flow import parse_flow
from stepflow_runtime.model.outcome import Answer
from stepflow_runtime.ports import Execution
from stepflow_runtime.services import fork_checks
from stepflow_runtime.store.memory import open_memory
from tests.invariants import Executions, audit_store
from tests.stepflow_runtime.engine.world import BOOM, World, flow, open_world, ref, step

ITEMS = 4


def make_flow(chance: Random) -> dict[str, Any]:
    """Up to six steps, each of which looks at some before it; some have defaults, some look only under a condition."""
    steps: list[dict[str, Any]] = []
    for name in "abcdef"[: chance.randint(2, 6)]:
        before = chance.sample([made["id"] for made in steps], chance.randint(0, min(2, len(steps))))
        given: Any = [{"$input": "$"}, *map(ref, before)]
        if before and chance.random() < 0.2:
            given = {"$if": {"$input": "odd"}, "then": ref(before[0]), "else": given}
        default = {"onError": {"action": "useDefault", "defaultValue": name}} if chance.random() < 0.2 else {}
        steps.append(step(name, given, **default))
    shown = [steps[-1]["id"], *(made["id"] for made in steps if chance.random() < 0.3)]
    return flow(*steps, output=[ref(name) for name in shown])


class Component:
    """Gives its step and input back, or fails, always the same; counts what it executes."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.executed: set[tuple[int, str]] = set()
        self.executions = Executions()
        self.mended = False

    def __call__(self, execution: Execution) -> Answer:
        place = execution.item_index, execution.step_id
        self.executed.add(place)
        if not self.mended and Random(f"{self._seed}/{place}").random() < 0.15:
            return BOOM
        return b'["%b",%b]' % (execution.step_id.encode(), execution.input)


def results_of(status: RunStatus) -> dict[int, Any]:
    return {entry.item_index: msgspec.to_builtins(entry.result, enc_hook=bytes) for entry in status.results or []}


@pytest.mark.parametrize("seed", range(60))
def test_forks_that_change_nothing_give_the_same(seed: int) -> None:
    trio.run(_try_forks, seed, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("seed", range(60, 90))
def test_what_is_not_looked_at_before_a_travel_would_not_be_refused(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = trio.run(_try_forks, seed, clock=trio.testing.MockClock(autojump_threshold=0))

    async def find_all(check: object, lineage: object, indexes: Collection[int]) -> Collection[int]:
        return indexes

    monkeypatch.setattr(fork_checks._TravelCheck, "find_doubtful", find_all)
    monkeypatch.setattr(fork_checks._TravelCheck, "_comes_surely", lambda check, reused: False)
    assert trio.run(_try_forks, seed, clock=trio.testing.MockClock(autojump_threshold=0)) == quick


async def _try_forks(seed: int) -> list[tuple[str, list[int], bool]]:
    """Tells which travels were tried, and whether they were refused."""
    chance = Random(seed)
    described = make_flow(chance)
    plan = compile_plan(parse_flow(described))
    component = Component(seed)
    tried: list[tuple[str, list[int], bool]] = []
    async with open_memory() as store, open_world(store, component) as world:
        inputs = [{"odd": bool(number % 2), "n": number} for number in range(ITEMS)]
        status = await world.finish((await world.submit(described, inputs)).run_id)
        first, executed = results_of(status), component.executed
        for _ in range(4):
            component.executed = set()
            name, items = chance.choice(list(plan.steps)), sorted(chance.sample(range(ITEMS), chance.randint(1, ITEMS)))
            fork = await _travel(world, status.run_id, name, items)
            tried.append((name, items, fork is None))
            if fork is None:
                assert not component.executed
                continue
            assert results_of(fork) == first
            again = {name} | find_dependants(plan, [name])
            assert {item for item, _ in component.executed} <= set(items)
            succeeded = {item for item in items if first[item]["outcome"] == "success"}
            expected = {(item, other) for item, other in executed if item in succeeded and other in again}
            assert {place for place in component.executed if place[0] in succeeded} == expected
            ordered = await world.get(fork.run_id, include_results=True, result_order=ResultOrder.BY_COMPLETION)
            assert results_of(ordered) == first
            status = fork
        component.mended, component.executed = True, set()
        mended = await world.finish((await world.restart(status.run_id)).run_id)
        assert {entry["outcome"] for entry in results_of(mended).values()} == {"success"}
        assert {item for item, _ in component.executed} <= {i for i in first if first[i]["outcome"] != "success"}
        assert await audit_store(store, component.executions) == []
    return tried


async def _travel(world: World, run_id: str, name: str, items: list[int]) -> RunStatus | None:
    try:
        fork = await world.time_travel(run_id, name, item_indexes=items)
    except RpcError as error:  # an item cannot come to that step
        if error.code == ErrorCode.CONFLICT and error.data["missing"]:
            return None
        raise
    return await world.finish(fork.run_id)
