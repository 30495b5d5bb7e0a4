"""What a runtime finds when it starts, and what it cannot read then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
import trio
from msgspec.structs import replace

from protocol.errors import ItemErrorCode
from protocol.runs import ListRunsParams, RunState
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import StoreUnavailable
from stepflow_runtime.store.memory import MemoryStore
from tests.simulation.sizes import small_sizes
from tests.stepflow_runtime.engine.world import (
    BOOM,
    CHAIN,
    ONE,
    World,
    echo,
    hold,
    open_world,
    outcomes,
    settle_down,
    values,
)

T = TypeVar("T")

pytestmark = pytest.mark.usefixtures("autojump_clock")


def fail_for(seconds: float, work: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """`work` by a medium that refuses until some time has passed since now."""
    ends_at = trio.current_time() + seconds

    async def attempt(*args: Any) -> T:
        if trio.current_time() < ends_at:
            raise StoreUnavailable("the disk failed")
        return await work(*args)

    return attempt


async def leave_unfinished(store: MemoryStore, **params: Any) -> str:
    """A run of five items: one has ended, three are in flight, and one has not begun."""
    async with open_world(store, hold) as world:
        status = await world.submit(CHAIN, range(5), max_concurrency=3, **params)
        for step in "abc":
            world.caller.answer(world.caller.find(0, step), outcome=b"0")
            await settle_down()
        world.executor.hold()
        return status.run_id


def damage(store: MemoryStore, blob_id: str) -> None:
    data, blob_type = store._blobs[BlobId(blob_id)]
    store._blobs[BlobId(blob_id)] = (data[:-1], blob_type)


@pytest.mark.parametrize("is_gone", [False, True])
async def test_a_run_whose_flow_cannot_be_read_any_more_fails_and_says_why(is_gone: bool) -> None:
    store = MemoryStore()
    run_id = await leave_unfinished(store)
    async with open_world(store, hold, boot=2) as world:
        other = await world.submit(ONE, [1])
        flow_id = (await world.get(run_id)).flow_id
    if is_gone:
        del store._blobs[BlobId(flow_id)]
    else:
        damage(store, flow_id)
    async with open_world(store, echo, boot=3) as world:
        status = await world.finish(run_id)
        assert (await world.finish(other.run_id)).status is RunState.SUCCESS, "the others go on"
    assert status.status is RunState.FAILED
    assert flow_id in (status.cancel_reason or "")
    assert outcomes(status) == [(0, "success"), (1, "failed"), (2, "failed"), (3, "failed"), (4, "cancelled")]
    error = (status.results or [])[1].result.error
    assert error
    assert error.code == ItemErrorCode.INTERNAL
    assert flow_id in error.message
    assert error.data == {"blobId": flow_id}


def damage_inputs(store: MemoryStore, run_id: str) -> None:
    (segment,) = store._runs[RunId(run_id)].inputs
    store._runs[RunId(run_id)].inputs = [replace(segment, data=segment.data[:-1])]


def lose_inputs(store: MemoryStore, run_id: str) -> None:
    store._runs[RunId(run_id)].inputs = []


def damage_journal(store: MemoryStore, run_id: str, row: int = 1) -> None:
    journal = store._runs[RunId(run_id)].journal
    journal[row] = replace(journal[row], events=journal[row].events[:-1])


def lose_a_row(store: MemoryStore, run_id: str, row: int = 1) -> None:
    del store._runs[RunId(run_id)].journal[row]


@pytest.mark.parametrize("harm", [damage_inputs, lose_inputs, damage_journal, lose_a_row])
async def test_a_run_that_was_damaged_fails_and_the_others_go_on(harm: Callable[[MemoryStore, str], None]) -> None:
    store = MemoryStore()
    run_id = await leave_unfinished(store)
    other = await leave_unfinished(store)
    harm(store, run_id)
    async with open_world(store, echo, boot=3) as world:
        status = await world.finish(run_id)
        assert (await world.finish(other)).status is RunState.SUCCESS
    assert status.status is RunState.FAILED
    assert f"run {run_id}" in (status.cancel_reason or "")
    assert outcomes(status) == [(0, "success"), (1, "failed"), (2, "failed"), (3, "failed"), (4, "cancelled")]
    error = (status.results or [])[1].result.error
    assert error
    assert error.code == ItemErrorCode.INTERNAL
    assert error.data == {"reason": "storeCorrupt"}


async def test_inputs_that_were_damaged_fail_a_run_that_is_at_work() -> None:
    with small_sizes():
        store = MemoryStore()
        async with open_world(store, hold) as world:
            status = await world.submit(ONE, range(40), max_concurrency=2)
            inputs = store._runs[RunId(status.run_id)].inputs
            inputs[5] = replace(inputs[5], data=b"{")
            world.caller.behave = echo
            for execution in list(world.caller.held):
                world.caller.answer(execution, outcome=b"0")
            status = await world.finish(status.run_id)
    assert status.status is RunState.FAILED
    assert "around item 20" in (status.cancel_reason or "")


@pytest.mark.parametrize("harm", [damage_journal, lose_a_row])
@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_fork_of_a_run_that_was_damaged_fails_and_the_others_go_on(
    harm: Callable[[MemoryStore, str, int], None], is_restarted: bool
) -> None:
    store = MemoryStore()
    with small_sizes():
        async with open_world(store, lambda execution: BOOM if execution.step_id == "c" else b"1") as world:
            origin = await world.finish((await world.submit(CHAIN, range(40), max_concurrency=2)).run_id)
        async with open_world(store, hold, boot=2) as world:
            other = await world.submit(ONE, [1])
            fork = await world.restart(origin.run_id)
            await settle_down()
            harm(store, origin.run_id, 1 if is_restarted else -5)
            if is_restarted:
                world.executor.hold()
            else:
                world.caller.behave = echo
                for execution in list(world.caller.held):
                    world.caller.answer(execution, outcome=b"0")
                status = await world.finish(fork.run_id)
                assert (await world.finish(other.run_id)).status is RunState.SUCCESS
        if is_restarted:
            async with open_world(store, echo, boot=3) as world:
                status = await world.finish(fork.run_id)
                assert (await world.finish(other.run_id)).status is RunState.SUCCESS
    assert status.status is RunState.FAILED
    assert f"run {origin.run_id}" in (status.cancel_reason or "")


async def test_a_snapshot_that_was_damaged_is_not_missed() -> None:
    with small_sizes():
        store = MemoryStore()
        async with open_world(store, lambda execution: None if execution.item_index == 30 else b"1") as world:
            run_id = (await world.submit(ONE, range(40), max_concurrency=2)).run_id
            await settle_down()
        seq, snapshot = store._runs[RunId(run_id)].snapshot or (0, b"")
        assert seq
        store._runs[RunId(run_id)].snapshot = (seq, snapshot[:-1])
        async with open_world(store, echo, boot=2) as world:
            status = await world.finish(run_id)
    assert status.status is RunState.SUCCESS
    assert values(status.results or []) == [30 if index == 30 else 1 for index in range(40)]


async def test_a_cancelled_run_whose_flow_cannot_be_read_any_more_ends() -> None:
    store = MemoryStore()
    async with open_world(store, hold) as world, trio.open_nursery() as nursery:
        status = await world.submit(ONE, range(4), max_concurrency=2)
        world.caller.heeds_interrupt = False
        nursery.start_soon(world.cancel, status.run_id)
        await settle_down()
        nursery.cancel_scope.cancel()
    damage(store, status.flow_id)
    async with open_world(store, echo, boot=2) as world:
        status = await world.finish(status.run_id)
    assert status.status in TERMINAL_RUN_STATES
    assert {outcome for _, outcome in outcomes(status)} == {"cancelled"}


@pytest.mark.parametrize("method", ["unfinished", "snapshot", "journal", "chunks", "inputs", "get", "outbox"])
async def test_a_runtime_that_starts_while_the_disk_fails_waits_for_it(method: str) -> None:
    store = MemoryStore()
    run_id = await leave_unfinished(store)

    def fail(world: World) -> None:
        setattr(world.store, method, fail_for(3, getattr(store, method)))

    began_at = trio.current_time()
    async with open_world(store, echo, boot=2, before_start=fail) as world:
        assert trio.current_time() >= began_at + 3
        status = await world.finish(run_id)
    assert values(status.results or []) == list(range(5))


async def test_inputs_that_cannot_be_read_now_are_read_later() -> None:
    with small_sizes():
        store = MemoryStore()
        async with open_world(store, echo) as world:
            world.store.inputs = fail_for(3, store.inputs)  # type: ignore[attr-defined]
            status = await world.submit(ONE, range(40), max_concurrency=2)
            status = await world.finish(status.run_id)
    assert values(status.results or []) == list(range(40))
    assert trio.current_time() >= 3


async def test_a_run_that_waits_for_the_disk_says_so_and_goes_on() -> None:
    is_full = False

    async def refuse(number: int) -> None:
        if is_full:
            raise StoreUnavailable("the disk is full")

    store = MemoryStore()
    async with open_world(store, hold, hooks=(refuse, None)) as world:
        status = await world.submit(CHAIN, [1])
        assert (await world.get(status.run_id)).status_detail is None
        is_full = True
        world.caller.answer(world.caller.find(0, "a"), outcome=b"1")
        await trio.sleep(2)
        assert (await world.get(status.run_id)).status_detail == "awaitingStorage"
        (listed,) = (await world.listing.runs(ListRunsParams(), world.client)).runs
        assert listed.status_detail == "awaitingStorage"
        is_full = False
        await trio.sleep(2)
        assert (await world.get(status.run_id)).status_detail is None
        assert world.caller.find(0, "b")
