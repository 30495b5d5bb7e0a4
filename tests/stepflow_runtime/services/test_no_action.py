"""A component may find nothing to do: its step succeeds with null, and a run of which every item did so says it."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.runs import EventsParams, ListRunsParams, RunState
from stepflow_runtime.model.outcome import NoAction
from stepflow_runtime.ports import Execution
from stepflow_runtime.store.memory import open_memory
from tests.stepflow_runtime.engine.world import (
    CHAIN,
    describe_facts,
    flow,
    fold_all,
    memory_world,
    open_world,
    ref,
    step,
    values,
)

ONE = flow(step("a"))
BOTH = flow(step("a"), step("b"), output=[ref("a"), ref("b")])


def idle_where_the_input_is_null(execution: Execution) -> Any:
    return NoAction("nothing new") if execution.input == b"null" else execution.input


@pytest.mark.parametrize(
    ("inputs", "detail"), [([None, None], "noActionTaken"), ([None, 1], None), ([1, 2], None), ([], None)]
)
async def test_a_run_took_no_action_when_every_item_took_none(inputs: list[Any], detail: str | None) -> None:
    async with memory_world(idle_where_the_input_is_null) as world:
        status = await world.finish((await world.submit(ONE, inputs)).run_id)
        assert (status.status, status.status_detail) == (RunState.SUCCESS, detail)
        assert values(status.results or []) == inputs


@pytest.mark.parametrize(("idle", "detail"), [({"a", "b"}, "noActionTaken"), ({"a"}, None), ({"b"}, None)])
async def test_an_item_took_no_action_when_every_step_of_it_took_none(idle: set[str], detail: str | None) -> None:
    def behave(execution: Execution) -> Any:
        return NoAction() if execution.step_id in idle else b"1"

    async with memory_world(behave) as world:
        status = await world.finish((await world.submit(BOTH, [0])).run_id)
        assert status.status_detail == detail
        assert values(status.results or []) == [[None if name in idle else 1 for name in ("a", "b")]]


async def test_an_item_that_acts_afterwards_is_no_idle_one() -> None:
    def behave(execution: Execution) -> Any:
        return NoAction() if execution.step_id == "a" else b"1"

    async with memory_world(behave) as world:
        status = await world.finish((await world.submit(CHAIN, [0])).run_id)
        assert status.status_detail is None


async def test_its_events_tell_the_reason_and_the_list_of_runs_the_detail() -> None:
    async with open_memory() as store, open_world(store, idle_where_the_input_is_null) as world:
        run_id = (await world.submit(ONE, [None])).run_id
        await world.finish(run_id)
        events = await world.events.events(EventsParams(run_id, types=["step.completed"]), world.client)
        assert [event.data for event in events.events] == [
            {"attempt": 1, "outcome": "success", "noAction": True, "reason": "nothing new"}
        ]
        listed = await world.listing.runs(ListRunsParams(), world.client)
        assert listed.runs[0].status_detail == "noActionTaken"
        record = await store.run(listed.runs[0].run_id)  # type: ignore[arg-type]
        facts = await fold_all(store, listed.runs[0].run_id)  # type: ignore[arg-type]
        assert record is not None
        assert facts.progress == record.progress, describe_facts(facts)
