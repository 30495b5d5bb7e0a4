"""Components that execute many items at once: what is sent together, when, and what becomes of each entry."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from stepflow_runtime.model.outcome import Failure, NoAction
from stepflow_runtime.ports import Execution
from tests.stepflow_runtime.connect.connect_kit import (
    FakeServer,
    Json,
    MemoryOrigin,
    World,
    execution,
    open_world,
    wait_until_ready,
)

HOUR_MS = 3_600_000
MANY = 1000
"""So many items are under way: others may still join."""


def make_origin(max_size: int = 3, max_wait_ms: int = 50, **fields: Any) -> MemoryOrigin:
    batch = {"max_size": max_size, "max_wait_ms": max_wait_ms}
    return MemoryOrigin(batch=batch, **{"capabilities": ["cancel", "batch"], **fields})


@asynccontextmanager
async def open_batching_world(live: int = MANY, **fields: Any) -> AsyncGenerator[tuple[World, FakeServer]]:
    """A world with one server; `live` items of every run are under way."""
    origin = make_origin(**fields)
    async with open_world(origin) as world:
        world.sink.live = live
        yield world, origin.servers[0]


def outputs(*values: Any) -> list[Json]:
    return [{"output": value} for value in values]


async def take_batch(server: FakeServer) -> tuple[Json, list[Json]]:
    """The next message, and its calls."""
    (message,) = await server.take_messages()
    assert message["method"] == "components/execute_batch", message
    return message, message["params"]["calls"]


def ids_of(calls: list[Json]) -> list[str]:
    return [call["observability"]["execution_id"] for call in calls]


def ids(*executions: Execution) -> list[str]:
    return [one.execution_id for one in executions]


# --- what is sent, and when ---


async def test_executions_of_one_step_go_together_and_each_gets_its_own_output() -> None:
    async with open_batching_world() as (world, server):
        several = [execution(input=str(n), run="r") for n in range(3)]
        world.call(*several)
        message, calls = await take_batch(server)
        assert message["params"]["component"] == "/double"
        assert calls[1] == {
            "input": 1,
            "attempt": 1,
            "observability": {
                "run_id": "r",
                "flow_id": "blake3:00",
                "step_id": "s",
                "item_index": several[1].item_index,
                "execution_id": several[1].execution_id,
            },
        }
        await server.send(id=message["id"], result={"results": outputs("a", None, [2])})
        assert await world.sink.wait_for(*several) == ["a", None, [2]]


async def test_a_batch_that_is_full_is_sent_at_once_and_the_rest_waits() -> None:
    async with open_batching_world() as (world, server):
        several = [execution() for _ in range(7)]
        world.call(*several)
        first, second = [ids_of((await take_batch(server))[1]) for _ in range(2)]
        assert first + second == ids(*several[:6])
        await trio.testing.wait_all_tasks_blocked()
        assert not server.executes


async def test_a_batch_that_is_not_full_is_sent_when_the_first_has_waited_long_enough(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_batching_world() as (world, server):
        started_at = trio.current_time()
        world.call(execution())
        await trio.sleep(0.02)
        world.call(execution())
        _, calls = await take_batch(server)
        assert len(calls) == 2
        assert trio.current_time() - started_at == pytest.approx(0.05)


async def test_nobody_is_waited_for_when_nobody_else_can_join() -> None:
    async with open_batching_world(live=2, max_wait_ms=HOUR_MS) as (world, server):
        world.call(execution(), execution())
        _, calls = await take_batch(server)
        assert len(calls) == 2


async def test_who_is_all_alone_is_sent_alone_at_once() -> None:
    async with open_batching_world(live=1, max_wait_ms=HOUR_MS) as (world, server):
        one = execution()
        world.call(one)
        (message,) = await server.take_messages()
        assert message["method"] == "components/execute"
        await server.send(id=message["id"], result={"output": 1})
        await world.sink.wait_for(one)


async def test_steps_and_runs_are_not_mixed() -> None:
    async with open_batching_world(live=2) as (world, server):
        a = [execution(run="a", root="a") for _ in range(2)]
        other = [execution(run="a", root="a", step="other") for _ in range(2)]
        b = [execution(run="b", root="b") for _ in range(2)]
        world.call(a[0], other[0], b[0], a[1], other[1], b[1])
        sent = [ids_of((await take_batch(server))[1]) for _ in range(3)]
        assert sorted(sent) == sorted([ids(*a), ids(*other), ids(*b)])


async def test_a_batch_takes_one_slot_and_is_joined_until_it_is_sent() -> None:
    async with open_batching_world(maxInFlight=1, max_size=4, live=2) as (world, server):
        first = [execution() for _ in range(2)]
        world.call(*first)
        message, _ = await take_batch(server)
        second = [execution() for _ in range(2)]
        world.call(*second)
        third = execution()
        world.call(third)
        await trio.testing.wait_all_tasks_blocked()
        assert not server.executes, "the slot is taken"
        await server.send(id=message["id"], result={"results": outputs(1, 2)})
        _, calls = await take_batch(server)
        assert ids_of(calls) == ids(*second, third)


async def test_root_runs_take_turns_with_their_batches() -> None:
    async with open_batching_world(maxInFlight=1, max_size=2) as (world, server):
        big = [execution(root="big") for _ in range(6)]
        small = [execution(root="small") for _ in range(2)]
        world.call(*big, *small)
        order: list[str] = []
        for _ in range(4):
            message, calls = await take_batch(server)
            order.append(calls[0]["observability"]["run_id"])
            await server.send(id=message["id"], result={"results": outputs(1, 2)})
        assert order == ["big", "small", "big", "big"]


async def test_a_server_that_did_not_declare_batches_gets_calls() -> None:
    async with open_batching_world(capabilities=["cancel"]) as (world, server):
        several = [execution() for _ in range(3)]
        world.call(*several)
        methods = [message["method"] for message in await server.take_messages(3)]
        assert methods == ["components/execute"] * 3


async def test_beside_a_server_that_takes_batches_one_that_does_not_gets_calls() -> None:
    modern, old = make_origin(max_size=4, maxInFlight=1), MemoryOrigin(maxInFlight=3)
    async with open_world(modern, old) as world:
        world.sink.live = MANY
        several = [execution() for _ in range(12)]
        world.call(*several)
        _, calls = await take_batch(modern.servers[0])
        singles = await old.servers[0].take(3)
        assert sorted(ids_of(calls + singles)) == sorted(ids(*several[: len(calls) + 3]))
        await trio.testing.wait_all_tasks_blocked()
        assert not old.servers[0].executes, "its slots are taken, and what is left of the batch waits"


async def test_a_server_that_takes_fewer_at_once_gets_fewer() -> None:
    small, large = make_origin(max_size=2), make_origin(max_size=4, maxInFlight=1)
    async with open_world(small, large) as world:
        world.sink.live = MANY
        world.call(*[execution() for _ in range(8)])
        await trio.testing.wait_all_tasks_blocked()
        for origin, sizes in ((small, {2}), (large, {2, 4})):
            assert {len(message["params"]["calls"]) for message in origin.servers[0].executes} <= sizes
        assert world.plugin.load in (3, 4)


async def test_what_waited_before_the_first_server_was_there_goes_together() -> None:
    origin = make_origin()
    async with open_world() as _, trio.open_nursery() as nursery:
        world = World([origin])
        world.sink.live = MANY
        several = [execution() for _ in range(3)]
        world.call(*several)
        await nursery.start(world.router.run)
        server = await wait_until_ready(origin)
        _, calls = await take_batch(server)
        assert ids_of(calls) == ids(*several)
        nursery.cancel_scope.cancel()


async def test_calls_that_would_not_fit_into_one_frame_are_split() -> None:
    async with open_batching_world(max_size=4, maxFrameBytes=3000, maxInFlight=1) as (world, server):
        several = [execution(input=json.dumps("x" * 900)) for _ in range(4)]
        world.call(*several)
        seen: list[str] = []
        for _ in range(2):
            message, calls = await take_batch(server)
            assert len(json.dumps(message)) < 3000
            seen += ids_of(calls)
            await server.send(id=message["id"], result={"results": outputs(*calls)})
        assert seen == ids(*several)
        await world.sink.wait_for(*several)


async def test_a_call_that_fits_no_frame_fails_alone() -> None:
    async with open_batching_world(maxFrameBytes=1000) as (world, server):
        first, long, last = execution(), execution(input=json.dumps("x" * 2000)), execution()
        world.call(first, long, last)
        await server.answer_all(2)
        _, failure, _ = await world.sink.wait_for(first, long, last)
        assert failure.code == "LIMIT_EXCEEDED"


async def test_what_goes_alone_is_in_no_batch() -> None:
    async with open_batching_world() as (world, server):
        alone, others = execution(alone=True), [execution() for _ in range(3)]
        world.call(*others[:2], alone, others[2])
        (message,) = await server.take_messages()
        assert message["method"] == "components/execute"
        assert message["params"]["observability"]["execution_id"] == alone.execution_id
        await trio.testing.wait_all_tasks_blocked()
        assert not server.executes
        await server.send(id=message["id"], result={"output": 1})
        _, calls = await take_batch(server)
        assert ids_of(calls) == ids(*others)


async def test_time_outs_count_for_each_from_the_dispatch() -> None:
    async with open_batching_world() as (world, server):
        several = [execution(timeout_ms=50) for _ in range(3)]
        world.call(*several[:2])
        assert not world.sink.dispatches
        world.call(several[2])
        await take_batch(server)
        assert world.sink.dispatches == several


# --- each entry has its own end ---


async def test_entries_that_failed_fail_alone() -> None:
    async with open_batching_world(max_size=6) as (world, server):
        several = [execution() for _ in range(6)]
        world.call(*several)
        message, _ = await take_batch(server)
        results = [
            {"output": 1},
            {"error": {"code": -32103, "message": "no number", "data": {"path": "$"}}},
            {"no_action": {}},
            {"error": {"code": 7, "message": "bad luck"}},
            {"no_action": 3},
            {},
        ]
        await server.send(id=message["id"], result={"results": results})
        one, unfit, nothing, failed, unreadable, empty = await world.sink.wait_for(*several)
        assert (one, nothing) == (1, NoAction())
        assert unfit == Failure("INVALID_INPUT", "no number", {"path": "$"})
        assert failed == Failure("COMPONENT_FAILED", "bad luck")
        assert unreadable.code == empty.code == "COMPONENT_FAILED"
        assert world.plugin.load == 0


async def test_an_error_as_the_answer_is_that_of_every_entry() -> None:
    async with open_batching_world() as (world, server):
        several = [execution() for _ in range(3)]
        world.call(*several)
        message, _ = await take_batch(server)
        await server.send(id=message["id"], error={"code": -32102, "message": "come later"})
        assert {failure.code for failure in await world.sink.wait_for(*several)} == {"RESOURCE_UNAVAILABLE"}
        assert world.plugin.load == 0


@pytest.mark.parametrize("results", [outputs(1, 2), outputs(1, 2, 3, 4), [], None, {"0": 1}])
async def test_a_missing_or_a_surplus_entry_ends_the_connection(results: Any) -> None:
    origin = make_origin()
    async with open_world(origin) as world:
        world.sink.live = MANY
        several = [execution() for _ in range(3)]
        world.call(*several)
        message, _ = await take_batch(origin.servers[0])
        later = [execution() for _ in range(3)]
        await origin.servers[0].send(id=message["id"], result={"results": results})
        failures = await world.sink.wait_for(*several)
        assert {failure.code for failure in failures} == {"UNREACHABLE"}
        assert '"/python/double"' in failures[0].message
        assert "batch" in failures[0].message
        world.call(*later)
        _, calls = await take_batch(await wait_until_ready(origin, 2))
        assert ids_of(calls) == ids(*later)


async def test_a_lost_connection_loses_every_entry() -> None:
    async with open_batching_world() as (world, server):
        several = [execution() for _ in range(3)]
        world.call(*several)
        await take_batch(server)
        await server.close()
        assert {failure.code for failure in await world.sink.wait_for(*several)} == {"UNREACHABLE"}


async def test_a_batch_that_was_not_sent_survives_a_lost_connection() -> None:
    origin = make_origin(maxInFlight=1)
    async with open_world(origin) as world:
        world.sink.live = MANY
        first, second = [execution() for _ in range(3)], [execution() for _ in range(3)]
        world.call(*first, *second)
        await take_batch(origin.servers[0])
        await origin.servers[0].close()
        await world.sink.wait_for(*first)
        _, calls = await take_batch(await wait_until_ready(origin, 2))
        assert ids_of(calls) == ids(*second)


async def test_entries_that_no_server_came_for_are_unreachable(autojump_clock: trio.testing.MockClock) -> None:
    origin = make_origin(max_size=2)
    async with open_world(origin, unavailable_timeout_ms=1000) as world:
        world.sink.live = MANY
        world.plugin._pool.remove(world.plugin._pool._servers[0])
        several = [execution() for _ in range(5)]
        world.call(*several)
        assert {failure.code for failure in await world.sink.wait_for(*several)} == {"UNREACHABLE"}


# --- cancellation, parking ---


async def test_a_batch_goes_on_without_a_cancelled_entry_whose_answer_counts_no_more() -> None:
    async with open_batching_world() as (world, server):
        several = [execution() for _ in range(3)]
        world.call(*several)
        message, _ = await take_batch(server)
        world.router.cancel(several[1])
        await trio.testing.wait_all_tasks_blocked()
        assert not [other for other in server.others if other["method"] == "$/cancelRequest"]
        await server.send(id=message["id"], result={"results": outputs(1, 2, 3)})
        assert await world.sink.wait_for(several[0], several[2]) == [1, 3]
        assert several[1] not in world.sink.answers


async def test_a_batch_is_cancelled_with_its_last_entry_and_only_once() -> None:
    async with open_batching_world() as (world, server):
        several = [execution() for _ in range(3)]
        world.call(*several)
        message, _ = await take_batch(server)
        for one in several:
            world.router.interrupt(one)
            world.router.cancel(one)
        world.router.flush()
        assert (await server.take_other("$/cancelRequest"))["params"] == {"id": message["id"]}
        await trio.testing.wait_all_tasks_blocked()
        assert not [other for other in server.others if other["method"] == "$/cancelRequest"]
        assert world.plugin._pool._servers[0].load == 1, "it may be working still"
        await server.send(id=message["id"], error={"code": -32800, "message": "cancelled"})
        await trio.testing.wait_all_tasks_blocked()
        assert world.plugin.load == 0
        assert not world.sink.answers


async def test_entries_that_are_interrupted_are_answered_all_the_same() -> None:
    async with open_batching_world() as (world, server):
        several = [execution() for _ in range(3)]
        world.call(*several)
        message, _ = await take_batch(server)
        world.router.interrupt(several[0])
        await server.send(id=message["id"], result={"results": outputs(1, 2, 3)})
        assert await world.sink.wait_for(*several) == [1, 2, 3]


async def test_what_is_cancelled_before_its_batch_is_sent_is_not_in_it(autojump_clock: trio.testing.MockClock) -> None:
    async with open_batching_world() as (world, server):
        gone, interrupted = execution(), execution()
        world.call(gone, interrupted)
        world.router.cancel(gone)
        world.router.interrupt(interrupted)
        (failure,) = await world.sink.wait_for(interrupted)
        assert failure.code == "CANCELLED"
        await trio.sleep(1)
        assert not server.executes
        assert gone not in world.sink.answers


async def test_a_batch_holds_no_slot_while_one_of_its_entries_waits_in_a_request() -> None:
    async with open_batching_world(maxInFlight=1) as (world, server):
        several = [execution() for _ in range(3)]
        world.call(*several)
        await take_batch(server)
        world.router.park(several[0])
        world.router.park(several[1])
        assert world.plugin.load == 0
        world.router.unpark(several[0])
        assert world.plugin.load == 0
        world.router.unpark(several[1])
        assert world.plugin.load == 1


async def test_a_batch_that_ends_while_an_entry_waits_frees_its_slot_once() -> None:
    async with open_batching_world() as (world, server):
        several = [execution() for _ in range(3)]
        world.call(*several)
        message, _ = await take_batch(server)
        world.router.park(several[0])
        await server.send(id=message["id"], result={"results": outputs(1, 2, 3)})
        await world.sink.wait_for(*several)
        world.router.unpark(several[0])
        assert world.plugin.load == 0
