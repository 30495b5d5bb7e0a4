"""Events of a run together with those of all runs beneath it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio

from protocol.errors import ErrorCode, RpcError
from protocol.runs import EventsParams, EventsResult, RunEvent
from stepflow_runtime.ports import Execution
from stepflow_runtime.store.sqlite import open_sqlite
from tests.stepflow_runtime.engine.world import ONE, World, flow, hold, memory_world, open_world, settle_down, step

PARENT = flow(step("spawn"))


async def read(world: World, run_id: str, **params: Any) -> EventsResult:
    return await world.events.events(EventsParams(run_id, include_sub_runs=True, **params), world.client)


async def read_all(world: World, run_id: str, limit: int = 100, **params: Any) -> list[RunEvent]:
    events: list[RunEvent] = []
    cursor = None
    while True:
        page = await read(world, run_id, cursor=cursor, limit=limit, **params)
        assert len(page.events) <= limit
        events += page.events
        cursor = page.next_cursor
        if page.done or not page.events:
            assert page.done
            return events


class Nesting:
    """Steps called `spawn` run a sub-run of as many inputs as their own says; `top` is set when the world is there."""

    world: World

    def __call__(self, execution: Execution) -> Any:
        return self.spawn if execution.step_id == "spawn" else b"null"

    async def spawn(self, execution: Execution) -> bytes:
        depth = int(execution.input)
        await self.world.submit(PARENT if depth else ONE, [depth - 1] * 2, by=execution, wait=True)
        return b"null"


async def test_events_of_all_runs_beneath_come_once_each_in_the_order_of_their_commits() -> None:
    nesting = Nesting()
    async with memory_world(nesting) as world:
        nesting.world = world
        with trio.fail_after(10):
            root = (await world.finish((await world.submit(PARENT, [1])).run_id)).run_id
            everything = await read_all(world, root)
            one_by_one = await read_all(world, root, limit=1)
        assert one_by_one == everything
        assert len({event.run_id for event in everything}) == 4
        assert Counter(event.type for event in everything)["run.completed"] == 4
        for run_id in {event.run_id for event in everything}:
            alone = await world.events.events(EventsParams(run_id), world.client)
            assert [event for event in everything if event.run_id == run_id] == alone.events
        ends = [event.run_id for event in everything if event.type == "run.completed"]
        assert ends[-1] == root


async def test_events_of_a_sub_run_leave_out_what_is_above_and_beside_it() -> None:
    nesting = Nesting()
    async with memory_world(nesting) as world:
        nesting.world = world
        with trio.fail_after(10):
            root = (await world.finish((await world.submit(PARENT, [2])).run_id)).run_id
            beside = (await world.finish((await world.submit(ONE, [2])).run_id)).run_id
        child = (await world.store.children(root))[0].spec.run_id
        seen = {event.run_id for event in await read_all(world, child)}
        assert child in seen
        assert len(seen) == 7
        assert not seen & {root, beside}


async def test_types_choose_among_the_events_of_all() -> None:
    nesting = Nesting()
    async with memory_world(nesting) as world:
        nesting.world = world
        with trio.fail_after(10):
            root = (await world.finish((await world.submit(PARENT, [0])).run_id)).run_id
        events = await read_all(world, root, types=["run.completed"])
        assert [event.type for event in events] == ["run.completed"] * 2


async def test_who_follows_is_woken_by_a_commit_of_a_sub_run_and_is_done_when_all_have_ended() -> None:
    async with memory_world(hold) as world:
        root = (await world.submit(ONE, [1])).run_id
        page = await read(world, root)
        pages: list[EventsResult] = []

        async def follow() -> None:
            cursor = page.next_cursor
            while not pages or not pages[-1].done:
                pages.append(await read(world, root, cursor=cursor, timeout_ms=60_000))
                cursor = pages[-1].next_cursor

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow)
                await settle_down()
                assert not pages
                above = world.caller.find(0)
                child = (await world.submit(ONE, [1], by=above, parent_close_policy="abandon")).run_id
                await settle_down()
                assert {event.run_id for seen in pages for event in seen.events} == {root, child}
                world.caller.answer(above)
                await settle_down()
                assert not pages[-1].done
                world.caller.answer(world.caller.find(0))
        assert pages[-1].done
        assert [event.run_id for seen in pages for event in seen.events if event.type == "run.completed"] == [
            root,
            child,
        ]


async def test_after_a_restart_a_cursor_goes_on_where_it_was(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "a.db", inline_only=True) as store, open_world(store, hold) as world:
        root = (await world.submit(ONE, [1])).run_id
        await world.submit(ONE, [1], by=world.caller.find(0))
        first = await read(world, root, limit=3)
    async with open_sqlite(tmp_path / "a.db", inline_only=True) as store, open_world(store, hold, boot=2) as world:
        rest = await read(world, root, cursor=first.next_cursor)
        everything = await read(world, root)
        assert everything.events == [*first.events, *rest.events]
        assert len({event.run_id for event in rest.events}) == 2


@pytest.mark.parametrize("cursor", ["!", "dHJlZQ", "MS8y"])
async def test_a_cursor_of_another_kind_is_refused(cursor: str) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        with pytest.raises(RpcError) as refused:
            await read(world, run_id, cursor=cursor)
        assert refused.value.code == ErrorCode.INVALID_PARAMS
