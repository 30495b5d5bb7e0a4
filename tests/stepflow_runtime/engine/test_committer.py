"""What is in which group of a commit, while time stands still."""

from __future__ import annotations

import trio
import trio.testing

from stepflow_runtime.engine.committer import MUCH, PAUSE_S
from stepflow_runtime.model.ids import RunId
from tests.stepflow_runtime.engine.world import CHAIN, ONE, World, hold, memory_world, settle_down


async def begin(world: World, items: int) -> RunId:
    """A run whose items are all in flight, and durable as far as it goes."""
    status = await world.submit(ONE, range(items), max_concurrency=items)
    await settle_down()
    world.store.commits.clear()
    return RunId(status.run_id)


async def answer(world: World, run_id: RunId, count: int) -> None:
    """Answers so many executions of a run, in one chunk."""
    world.caller.answer(*[one for one in world.caller.held if one.run_id == run_id][:count])
    await settle_down()


def committed(world: World) -> list[RunId]:
    return [write.run_id for commit in world.store.commits for write in commit]


async def test_what_records_much_gathers_on_for_a_while(mock_clock: trio.testing.MockClock) -> None:
    async with memory_world(hold) as world:
        big = await begin(world, 4 * MUCH)
        await answer(world, big, MUCH)
        await answer(world, big, MUCH)
        assert committed(world) == []
        mock_clock.jump(PAUSE_S)
        await settle_down()
        assert committed(world) == [big], "one commit for both chunks"


async def test_while_it_does_others_are_committed(mock_clock: trio.testing.MockClock) -> None:
    async with memory_world(hold) as world:
        big = await begin(world, 4 * MUCH)
        small = await begin(world, 2)
        await answer(world, big, MUCH)
        await answer(world, small, 1)
        assert committed(world) == [small]


async def test_little_is_committed_at_once(mock_clock: trio.testing.MockClock) -> None:
    async with memory_world(hold) as world:
        big = await begin(world, 4 * MUCH)
        await answer(world, big, MUCH - 1)
        assert committed(world) == [big]


async def test_the_end_of_a_run_is_committed_at_once(mock_clock: trio.testing.MockClock) -> None:
    async with memory_world(hold) as world:
        big = await begin(world, 2 * MUCH)
        await answer(world, big, 2 * MUCH)
        assert committed(world) == [big]


async def test_what_somebody_waits_for_is_committed_at_once(mock_clock: trio.testing.MockClock) -> None:
    async with memory_world(hold) as world:
        status = await world.submit(ONE, range(4 * MUCH), max_concurrency=4 * MUCH, sealed=False)
        run_id = RunId(status.run_id)
        await answer(world, run_id, MUCH)
        assert len(committed(world)) == 1, "its submission"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.append, run_id, 4 * MUCH, [b"1"])
            await settle_down()
            assert len(committed(world)) == 2
            nursery.cancel_scope.cancel()


async def test_what_the_next_step_waits_for_is_committed_at_once(mock_clock: trio.testing.MockClock) -> None:
    async with memory_world(hold) as world:
        status = await world.submit(CHAIN, range(4 * MUCH), max_concurrency=4 * MUCH)
        await settle_down()
        calls = len(world.caller.calls)
        await answer(world, RunId(status.run_id), MUCH)
        assert len(world.caller.calls) == calls + MUCH
