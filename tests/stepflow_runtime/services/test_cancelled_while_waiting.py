"""What items did that were cancelled while they waited is known afterwards, be they few or many in a row."""

from __future__ import annotations

import pytest

from protocol.runs import ListStepsParams, RunState, StepState
from stepflow_runtime.engine.suspension import FEW
from stepflow_runtime.model.outcome import Answer, Suspension
from stepflow_runtime.ports import SEGMENT_ITEMS, Execution
from tests.stepflow_runtime.engine.world import flow, memory_world, ref, settle_down, step, values

ASKING = flow(step("fetch"), step("ask", ref("fetch")))


def ask(execution: Execution) -> Answer:
    if execution.step_id == "fetch":
        return b"[%b]" % execution.input
    return Suspension(payload=b"null")


@pytest.mark.parametrize("total", [3, FEW, FEW + 1, SEGMENT_ITEMS + FEW + 2])
async def test_steps_of_cancelled_items_are_listed(total: int) -> None:
    async with memory_world(ask) as world:
        run_id = (await world.submit(ASKING, range(total), max_concurrency=7)).run_id
        await settle_down()
        await world.cancel(run_id, reason="enough", grace_ms=0)
        for item in {0, 1, total // 2, total - 1}:
            steps = (await world.listing.steps(ListStepsParams(run_id, item), world.client)).steps
            assert [(info.step_id, info.status) for info in steps] == [
                ("fetch", StepState.SUCCESS),
                ("ask", StepState.CANCELLED),
            ]
            assert steps[0].result is not None
            assert bytes(steps[0].result.value) == b"[%d]" % item
            assert steps[1].completed_at is not None


@pytest.mark.parametrize("total", [3, FEW + 1, SEGMENT_ITEMS + FEW + 2])
async def test_what_had_succeeded_is_not_executed_again(total: int) -> None:
    async with memory_world(ask) as world:
        run_id = (await world.submit(ASKING, range(total), max_concurrency=7)).run_id
        await settle_down()
        await world.cancel(run_id, grace_ms=0)
        world.caller.calls.clear()
        world.caller.behave = lambda execution: execution.input
        fork = await world.finish((await world.restart(run_id)).run_id)
        assert fork.status is RunState.SUCCESS
        assert values(fork.results or []) == [[item] for item in range(total)]
        assert {execution.step_id for execution in world.caller.calls} == {"ask"}
