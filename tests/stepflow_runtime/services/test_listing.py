"""`runs/list`, `runs/items`, `runs/steps` and `runs/events`: pages, filters, and long polls."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import pytest
import trio

from protocol.errors import ErrorCode, RpcError
from protocol.runs import (
    EventsParams,
    EventsResult,
    ItemState,
    ListItemsParams,
    ListRunsParams,
    ListStepsParams,
    RunEvent,
    RunState,
    StepState,
)
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import JournalRow
from stepflow_runtime.services.history import join_spans
from tests.stepflow_runtime.engine.world import (
    BOOM,
    CHAIN,
    ONE,
    World,
    expect_code,
    flow,
    hold,
    memory_world,
    settle_down,
    step,
)


async def list_runs(world: World, **params: Any) -> tuple[list[str], str | None]:
    result = await world.listing.runs(ListRunsParams(**params), world.client)
    return [run.run_id for run in result.runs], result.next_cursor


async def list_items(world: World, run_id: str, **params: Any) -> list[Any]:
    """All pages of items, as on the wire."""
    found, cursor = [], None
    while True:
        result = await world.listing.items(ListItemsParams(run_id, cursor=cursor, **params), world.client)
        found.extend(msgspec.json.decode(msgspec.json.encode(result.items)))
        cursor = result.next_cursor
        if cursor is None:
            return found


async def read_events(world: World, run_id: str, **params: Any) -> list[RunEvent]:
    """All pages of events of an ended run."""
    found: list[RunEvent] = []
    cursor = None
    while True:
        result = await world.events.events(EventsParams(run_id, cursor=cursor, **params), world.client)
        found.extend(result.events)
        if result.done:
            return found
        assert result.next_cursor != cursor, "no progress"
        cursor = result.next_cursor


# --- runs ---


async def test_runs_are_listed_newest_first_in_pages(autojump_clock: object) -> None:
    async with memory_world() as world:
        ids = [(await world.submit(ONE, [n], wait=True)).run_id for n in range(5)]
        assert await list_runs(world) == (ids[::-1], None)
        first, cursor = await list_runs(world, limit=2)
        second, cursor = await list_runs(world, limit=2, cursor=cursor)
        third, cursor = await list_runs(world, limit=2, cursor=cursor)
        assert (first + second + third, cursor) == (ids[::-1], None)


async def test_runs_that_come_while_pages_are_read_move_none(autojump_clock: object) -> None:
    async with memory_world() as world:
        ids = [(await world.submit(ONE, [n], wait=True)).run_id for n in range(5)]
        found, cursor = await list_runs(world, limit=2)
        while cursor is not None:
            await world.submit(ONE, [0], wait=True)
            page, cursor = await list_runs(world, limit=2, cursor=cursor)
            found += page
        assert found == ids[::-1]


async def test_runs_are_found_by_what_they_are(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        labelled = await world.submit(ONE, [1], labels={"team": "a", "kind": "x"})
        await trio.sleep(10)
        other = await world.submit(CHAIN, [1])
        last = await world.submit(ONE, [1])
        await world.cancel(other.run_id)
        cases: list[tuple[dict[str, Any], list[str]]] = [
            ({"labels": {"team": "a"}}, [labelled.run_id]),
            ({"labels": {"team": "b"}}, []),
            ({"status": RunState.CANCELLED}, [other.run_id]),
            ({"flow_id": other.flow_id}, [other.run_id]),
            ({"flow_name": "One step"}, [last.run_id, labelled.run_id]),
            ({"created_before": other.created_at}, [labelled.run_id]),
            ({"created_after": labelled.created_at}, [last.run_id, other.run_id]),
        ]
        for params, expected in cases:
            assert (await list_runs(world, **params))[0] == expected, params


async def test_sub_runs_are_found_by_their_parent_and_root(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        parent = await world.submit(ONE, [1])
        await settle_down()
        child = await world.submit(ONE, [1], by=world.caller.find(0))
        assert (await list_runs(world, parent_run_id=parent.run_id))[0] == [child.run_id]
        assert (await list_runs(world, root_run_id=parent.run_id))[0] == [child.run_id, parent.run_id]


@pytest.mark.parametrize("cursor", ["", "!", "%%%%", "x" * 7, "YS9i"])
async def test_a_cursor_of_runs_that_is_none_is_refused(cursor: str, autojump_clock: object) -> None:
    async with memory_world() as world:
        with pytest.raises(RpcError) as caught:
            await list_runs(world, cursor=cursor)
        expect_code(caught.value, ErrorCode.INVALID_PARAMS)


@pytest.mark.parametrize("cursor", ["", "!", "%%%%", "x" * 7, "AAAA", "YS9i"])
async def test_a_cursor_that_is_none_is_refused(cursor: str, autojump_clock: object) -> None:
    async with memory_world() as world:
        run_id = (await world.submit(ONE, [1], wait=True)).run_id
        for call in (
            partial(world.listing.items, ListItemsParams(run_id, cursor=cursor), world.client),
            partial(world.listing.steps, ListStepsParams(run_id, cursor=cursor), world.client),
            partial(world.events.events, EventsParams(run_id, cursor=cursor), world.client),
        ):
            with pytest.raises(RpcError) as caught:
                await call()
            expect_code(caught.value, ErrorCode.INVALID_PARAMS)


async def test_what_is_in_a_run_that_is_not_there_is_not_found(autojump_clock: object) -> None:
    async with memory_world() as world:
        for call in (
            partial(world.listing.items, ListItemsParams("no"), world.client),
            partial(world.listing.steps, ListStepsParams("no"), world.client),
            partial(world.events.events, EventsParams("no"), world.client),
        ):
            with pytest.raises(RpcError) as caught:
                await call()
            expect_code(caught.value, ErrorCode.RUN_NOT_FOUND)


# --- items ---


async def test_items_have_their_inputs_their_states_and_their_results(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(CHAIN, ["x", "y", "z"], max_concurrency=2)).run_id
        await settle_down()
        world.caller.answer(world.caller.find(0), outcome=BOOM)
        await settle_down()
        world.caller.answer(world.caller.find(1), outcome=b"1")
        await settle_down()
        assert await list_items(world, run_id) == [
            {
                "itemIndex": 0,
                "status": "failed",
                "input": "x",
                "result": {"outcome": "failed", "error": {"code": "COMPONENT_FAILED", "message": "boom"}},
            },
            {"itemIndex": 1, "status": "running", "input": "y", "currentSteps": ["b"]},
            {"itemIndex": 2, "status": "running", "input": "z", "currentSteps": ["a"]},
        ]


@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_pages_of_items_join(limit: int, autojump_clock: object) -> None:
    async with memory_world(lambda e: BOOM if e.item_index % 10 == 3 else b"1") as world:
        run_id = (await world.submit(ONE, range(1200 if limit > 1 else 30), wait=True)).run_id
        total = (await world.get(run_id)).items.total
        items = await list_items(world, run_id, limit=limit)
        assert [item["itemIndex"] for item in items] == [item["input"] for item in items] == list(range(total))
        failed = await list_items(world, run_id, limit=limit, status=ItemState.FAILED)
        assert [item["itemIndex"] for item in failed] == list(range(3, total, 10))


async def test_an_item_whose_end_is_not_durable_yet_still_runs(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, range(2), max_concurrency=1)).run_id
        await settle_down()

        async def slowly(_: int) -> None:
            await trio.sleep(1)

        world.store.before = slowly
        world.caller.answer(world.caller.find(0))
        assert (await list_items(world, run_id))[0]["status"] == "running"
        await trio.sleep(2)
        assert [item["status"] for item in await list_items(world, run_id)] == ["success", "running"]


# --- steps ---


async def test_steps_tell_what_was_executed_and_how_it_ended(autojump_clock: object) -> None:
    retried = flow(step("a", onError={"action": "retry", "maxRetries": 1}))
    async with memory_world(lambda e: BOOM if e.attempt == 1 or e.item_index else b"1") as world:
        run_id = (await world.submit(retried, range(2), wait=True)).run_id
        result = await world.listing.steps(ListStepsParams(run_id), world.client)
        assert [(s.item_index, s.step_id, s.component, s.attempt, s.status) for s in result.steps] == [
            (0, "a", "/c/a", 2, StepState.SUCCESS),
            (1, "a", "/c/a", 2, StepState.FAILED),
        ]
        assert all(s.started_at and s.completed_at and s.result for s in result.steps)


async def test_steps_in_flight_are_told_as_they_are(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(CHAIN, range(2))).run_id
        await settle_down()
        world.caller.answer(world.caller.find(1))
        await settle_down()
        result = await world.listing.steps(ListStepsParams(run_id, item_index=1), world.client)
        assert [(s.step_id, s.status) for s in result.steps] == [("a", StepState.SUCCESS), ("b", StepState.RUNNING)]


async def test_pages_of_steps_join(autojump_clock: object) -> None:
    async with memory_world() as world:
        run_id = (await world.submit(CHAIN, range(10), wait=True)).run_id
        found: list[tuple[int, str]] = []
        cursor = None
        while True:
            result = await world.listing.steps(ListStepsParams(run_id, cursor=cursor, limit=4), world.client)
            assert len(result.steps) <= 4
            found.extend((s.item_index, s.step_id) for s in result.steps)
            cursor = result.next_cursor
            if cursor is None:
                break
        assert found == [(item, name) for item in range(10) for name in "abc"]


async def test_a_page_of_steps_reads_what_its_items_have_in_common_once(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_world() as world:
        run_id = (await world.submit(CHAIN, range(300), max_concurrency=100, wait=True)).run_id
        reads: list[int] = []
        read = world.store.journal

        async def count(run: RunId, seq: int, max_rows: int) -> list[JournalRow]:
            reads.append(seq)
            rows: list[JournalRow] = await read(run, seq, max_rows)
            return rows

        monkeypatch.setattr(world.store, "journal", count)
        result = await world.listing.steps(ListStepsParams(run_id, limit=900), world.client)
        assert len(result.steps) == 900
        assert len(reads) < 30


async def test_a_flow_without_steps_has_none_to_look_for(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_world() as world:
        run_id = (await world.submit({"steps": [], "output": 1}, range(3), wait=True)).run_id
        monkeypatch.setattr(world.store, "journal", None)
        assert (await world.listing.steps(ListStepsParams(run_id), world.client)).steps == []


def test_spans_that_meet_are_read_as_one() -> None:
    assert join_spans([(5, 9), (0, 0), (1, 2), (3, 4), (20, 30), (22, 25)]) == [(1, 9), (20, 30)]


# --- events ---


async def test_events_tell_a_run_from_its_creation_to_its_end(autojump_clock: object) -> None:
    async with memory_world() as world:
        run_id = (await world.submit(ONE, [1], wait=True)).run_id
        events = await read_events(world, run_id)
        assert [event.type for event in events] == [
            "run.created",
            "run.started",
            "item.started",
            "step.started",
            "step.completed",
            "item.completed",
            "run.completed",
        ]
        assert [event.seq for event in events] == sorted(event.seq for event in events)
        assert {event.run_id for event in events} == {run_id}


@pytest.mark.parametrize("limit", [1, 3, 1000])
async def test_pages_of_events_join(limit: int, autojump_clock: object) -> None:
    async with memory_world(lambda e: BOOM if e.item_index == 2 else b"1") as world:
        run_id = (await world.submit(CHAIN, range(20), wait=True, failure_policy="failFast")).run_id
        events = await read_events(world, run_id, limit=limit)
        assert len({(e.seq, e.type, e.item_index, e.step_id) for e in events}) == len(events)
        ended = [event.item_index for event in events if event.type == "item.completed"]
        assert sorted(item for item in ended if item is not None) == list(range(20))
        chosen = await read_events(world, run_id, limit=limit, types=["item.completed"])
        assert chosen == [event for event in events if event.type == "item.completed"]


async def test_the_last_events_are_told_without_those_before_them(autojump_clock: object) -> None:
    async with memory_world() as world:
        run_id = (await world.submit(CHAIN, range(20), wait=True)).run_id
        events = await read_events(world, run_id, limit=1000)
        page = await world.events.events(EventsParams(run_id, tail=5, limit=1000), world.client)
        assert page.done
        assert page.events == [event for event in events if event.seq > events[-1].seq - 5]
        everything = await world.events.events(EventsParams(run_id, tail=10_000, limit=1000), world.client)
        assert everything.events == events
        after = await world.events.events(EventsParams(run_id, cursor=page.next_cursor), world.client)
        assert (after.events, after.done) == ([], True)


async def test_an_unknown_type_of_event_is_refused_with_those_that_there_are(autojump_clock: object) -> None:
    async with memory_world() as world:
        run_id = (await world.submit(ONE, [1], wait=True)).run_id
        with pytest.raises(RpcError, match=r"item\.completed") as caught:
            await world.events.events(EventsParams(run_id, types=["item.exploded"]), world.client)
        expect_code(caught.value, ErrorCode.INVALID_PARAMS)


async def test_a_long_poll_is_woken_by_the_commit_that_brings_an_event(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        await settle_down()
        seen = await world.events.events(EventsParams(run_id), world.client)
        woken: list[EventsResult] = []

        async def poll() -> None:
            params = EventsParams(run_id, cursor=seen.next_cursor, timeout_ms=60_000)
            woken.append(await world.events.events(params, world.client))
            assert trio.current_time() == pytest.approx(5)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            await trio.sleep(5)
            world.caller.answer(world.caller.find(0))
        assert [event.type for event in woken[0].events] == ["step.completed", "item.completed", "run.completed"]
        assert woken[0].done


async def test_a_long_poll_for_what_does_not_happen_ends_at_its_time(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        params = EventsParams(run_id, types=["run.completed"], timeout_ms=3000)
        result = await world.events.events(params, world.client)
        assert trio.current_time() == pytest.approx(3)
        assert (result.events, result.done) == ([], False)
