"""Restarts and travels under a `requestId`: who repeats one is given what the first did, and nothing is done twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from protocol.errors import ErrorCode, RpcError
from protocol.runs import RunState, RunStatus
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import Answer, Suspension
from stepflow_runtime.ports import Execution, RunFilter
from stepflow_runtime.store.memory import open_memory
from tests.stepflow_runtime.engine.world import (
    BOOM,
    World,
    expect_code,
    flow,
    hold,
    memory_world,
    open_world,
    ref,
    settle_down,
    step,
    values,
)

CHAIN = flow(step("a"), step("b", ref("a")))


def fail_odd(execution: Execution) -> Answer:
    return BOOM if execution.item_index % 2 and execution.step_id == "b" else execution.input


async def restart(world: World, run_id: str, request_id: str = "r", **params: Any) -> RunStatus:
    return await world.restart(run_id, request_id=request_id, **params)


async def travel(world: World, run_id: str, request_id: str = "r", **params: Any) -> RunStatus:
    return await world.time_travel(run_id, params.pop("step", "b"), request_id=request_id, **params)


async def submit_failing(world: World) -> str:
    return (await world.finish((await world.submit(CHAIN, range(4))).run_id)).run_id


async def count_forks(world: World, run_id: str) -> int:
    return len(await world.store.runs(RunFilter(forked_from=RunId(run_id)), None, 10))


Ask = Callable[..., Awaitable[RunStatus]]
ASKS = pytest.mark.parametrize("ask", [restart, travel])


@ASKS
async def test_who_repeats_a_request_is_given_the_fork_that_it_made(ask: Ask) -> None:
    async with memory_world(fail_odd) as world:
        run_id = await submit_failing(world)
        first = await ask(world, run_id, item_indexes=[1, 3])
        assert first.deduplicated is None
        await world.finish(first.run_id)
        again = await ask(world, run_id, item_indexes=[3, 1, 3])
        assert (again.run_id, again.deduplicated) == (first.run_id, True)
        other = await ask(world, run_id, "another", item_indexes=[1, 3])
        assert other.run_id != first.run_id
        assert await count_forks(world, run_id) == 2


@ASKS
async def test_of_many_at_once_one_makes_the_fork(ask: Ask) -> None:
    async with memory_world(fail_odd) as world:
        run_id, told = await submit_failing(world), list[str]()

        async def say() -> None:
            told.append((await ask(world, run_id)).run_id)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(say)
        assert len(told) == 20
        assert len(set(told)) == 1
        assert await count_forks(world, run_id) == 1


async def test_something_else_under_the_same_id_is_refused_and_makes_nothing() -> None:
    async with memory_world(fail_odd) as world:
        run_id = await submit_failing(world)
        await travel(world, run_id, input=1)
        for other in (
            travel(world, run_id, input=2),
            travel(world, run_id),
            travel(world, run_id, step="a", input=1),
            travel(world, run_id, input=1, item_indexes=[0]),
            restart(world, run_id),
        ):
            with pytest.raises(RpcError, match="was used for another restart or travel") as error:
                await other
            expect_code(error.value, ErrorCode.CONFLICT)
        assert await count_forks(world, run_id) == 1


async def test_the_same_id_means_another_request_of_another_run() -> None:
    async with memory_world(fail_odd) as world:
        one, other = await submit_failing(world), await submit_failing(world)
        assert (await restart(world, one)).forked_from == one
        assert (await restart(world, other)).forked_from == other


async def test_a_repeated_travel_waits_for_the_fork_too() -> None:
    async with memory_world(fail_odd) as world:
        run_id = await submit_failing(world)
        first = await travel(world, run_id)
        again = await travel(world, run_id, wait=True)
        assert (again.run_id, again.status) == (first.run_id, RunState.FAILED)


async def test_a_travel_of_a_suspended_run_is_found_again_although_the_run_goes_on_since() -> None:
    def ask(execution: Execution) -> Answer:
        return execution.resumes[0].data if execution.resumes else Suspension()

    async with memory_world(ask) as world:
        run = await world.submit(flow(step("ask")), [0])
        await settle_down()
        fork = await travel(world, run.run_id, step="ask", resume_data="there")
        await world.resume(run.run_id, "here")
        await world.finish(run.run_id)
        again = await travel(world, run.run_id, step="ask", resume_data="there", wait=True)
        assert again.run_id == fork.run_id
        assert values((await world.finish(fork.run_id)).results or []) == ["there"]


async def test_active_steps_go_again_once() -> None:
    async with memory_world(hold) as world:
        run = await world.submit(CHAIN, [0])
        await settle_down()
        assert (await restart(world, run.run_id)).deduplicated is None
        assert (await restart(world, run.run_id)).deduplicated
        await settle_down()
        assert [execution.attempt for execution in world.caller.calls] == [1, 2]
        with pytest.raises(RpcError, match="was used for another"):
            await restart(world, run.run_id, item_indexes=[0])
        await restart(world, run.run_id, "another")
        await settle_down()
        assert [execution.attempt for execution in world.caller.calls] == [1, 2, 3]


async def test_active_steps_go_again_once_also_if_many_say_so_at_once() -> None:
    async with memory_world(hold) as world:
        run = await world.submit(CHAIN, [0])
        await settle_down()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(restart, world, run.run_id)
        await settle_down()
        assert [execution.attempt for execution in world.caller.calls] == [1, 2]


async def test_what_went_again_in_the_run_itself_makes_no_fork_when_that_has_ended_since() -> None:
    async with memory_world(hold) as world:
        run = await world.submit(CHAIN, [0])
        await settle_down()
        await restart(world, run.run_id)
        await world.cancel(run.run_id, grace_ms=0)
        again = await restart(world, run.run_id)
        assert (again.run_id, again.status, again.deduplicated) == (run.run_id, RunState.CANCELLED, True)
        with pytest.raises(RpcError, match="was used for another"):
            await travel(world, run.run_id, step="a")
        assert await count_forks(world, run.run_id) == 0


@ASKS
async def test_the_next_runtime_knows_what_was_made(ask: Ask) -> None:
    async with open_memory() as store:
        async with open_world(store, fail_odd) as world:
            run_id = await submit_failing(world)
            fork = await ask(world, run_id)
        async with open_world(store, fail_odd, boot=2) as world:
            assert (await ask(world, run_id)).run_id == fork.run_id
            assert await count_forks(world, run_id) == 1


async def test_the_next_runtime_knows_which_steps_went_again() -> None:
    async with open_memory() as store:
        async with open_world(store, hold) as world:
            run = await world.submit(CHAIN, [0])
            await settle_down()
            await restart(world, run.run_id)
        async with open_world(store, hold, boot=2) as world:
            await settle_down()
            assert (await restart(world, run.run_id)).deduplicated
            await settle_down()
        assert [execution.attempt for execution in world.caller.calls] == [3]
