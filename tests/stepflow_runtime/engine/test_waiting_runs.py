"""Suspensions, sleeps and pauses in a runtime that runs: what peers are told, and what survives it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from protocol.errors import ErrorCode, RpcError
from protocol.runs import (
    EventsParams,
    ItemState,
    ListItemsParams,
    ListStepsParams,
    RunState,
    RunStatus,
    StepState,
    WaitFor,
)
from stepflow_runtime.engine.active_run import ActiveRun
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import Answer, Suspension
from stepflow_runtime.ports import Execution
from stepflow_runtime.services.suspensions import Wanted
from stepflow_runtime.store.memory import MemoryStore, open_memory
from stepflow_runtime.store.sqlite import open_sqlite
from tests.stepflow_runtime.engine.world import (
    EPOCH_MS,
    GONE,
    ONE,
    World,
    expect_code,
    flow,
    memory_world,
    open_world,
    outcomes,
    ref,
    settle_down,
    step,
    values,
)

YES_OR_NO = b'{"type":"object","required":["yes"],"properties":{"yes":{"type":"boolean"}}}'
ASK = Suspension(payload=b'{"question":"may I?"}', schema=YES_OR_NO)
TWICE = flow(step("first"), step("second", ref("first")))


def ask(execution: Execution) -> Answer:
    """The component that asks once, and returns the answer."""
    return execution.resumes[-1].data if execution.resumes else ASK


def ask_twice(execution: Execution) -> Answer:
    """Two questions, one after the other."""
    if len(execution.resumes) < 2:
        return Suspension(label=f"q{len(execution.resumes)}")
    return b"[%b,%b]" % (execution.resumes[0].data, execution.resumes[1].data)


def doze(execution: Execution) -> Answer:
    """The component that sleeps for an hour."""
    return b'"awake"' if execution.resumes else Suspension(until_ms=EPOCH_MS + 3_600_000)


async def settle(world: World, run_id: str) -> RunStatus:
    with trio.fail_after(100_000):
        return await world.get(run_id, wait=True, wait_for=WaitFor.SETTLED)


async def test_a_suspended_run_tells_what_it_waits_for_and_goes_on(autojump_clock: object) -> None:
    async with memory_world(ask) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        status = await settle(world, run_id)
        assert (status.status, status.status_detail) == (RunState.SUSPENDED, "awaitingInput")
        assert (status.items.suspended, status.items.running, status.items.pending) == (1, 0, 0)
        assert status.suspensions is not None
        (suspension,) = status.suspensions
        assert (suspension.item_index, suspension.step_id, suspension.label) == (0, "a", "1")
        assert msgspec.json.decode(suspension.payload) == {"question": "may I?"}
        assert msgspec.json.decode(suspension.resume_schema)["required"] == ["yes"]
        resumed = await world.resume(run_id, {"yes": True}, wait=True)
        assert resumed.status is RunState.SUCCESS
        assert resumed.suspensions is None
        assert values((await world.finish(run_id)).results or []) == [{"yes": True}]


async def test_a_run_with_nothing_suspended_says_nothing_of_it(autojump_clock: object) -> None:
    async with memory_world() as world:
        status = await world.submit(ONE, [1], wait=True)
        raw = msgspec.json.decode(msgspec.json.encode(status))
        assert "suspensions" not in raw
        assert "suspended" not in raw["items"]


async def test_a_submission_that_waits_until_the_run_has_settled_is_answered(autojump_clock: object) -> None:
    async with memory_world(ask) as world:
        status = await world.submit(ONE, [1], wait=True, wait_for=WaitFor.SETTLED)
        assert status.status is RunState.SUSPENDED
        assert status.results is None


async def test_items_and_steps_show_what_waits(autojump_clock: object) -> None:
    async with memory_world(ask) as world:
        run_id = (await world.submit(TWICE, [1, 2])).run_id
        await settle(world, run_id)
        items = (await world.listing.items(ListItemsParams(run_id), world.client)).items
        assert [(item.status, item.current_steps) for item in items] == [(ItemState.SUSPENDED, ["first"])] * 2
        assert len((await world.listing.items(ListItemsParams(run_id, ItemState.SUSPENDED), world.client)).items) == 2
        steps = (await world.listing.steps(ListStepsParams(run_id), world.client)).steps
        assert [info.status for info in steps] == [StepState.SUSPENDED] * 2
        assert steps[0].suspension is not None
        assert steps[0].suspension.label == "1"
        await world.resume(run_id, {"yes": True}, item_index=1)
        await settle(world, run_id)
        first, second, third = (await world.listing.steps(ListStepsParams(run_id), world.client)).steps
        assert (first.step_id, first.status) == ("first", StepState.SUSPENDED)
        assert (second.step_id, second.status, second.suspension) == ("first", StepState.SUCCESS, None)
        assert (third.step_id, third.status) == ("second", StepState.SUSPENDED)
        await world.cancel(run_id)
        steps = (await world.listing.steps(ListStepsParams(run_id), world.client)).steps
        assert [info.status for info in steps] == [StepState.CANCELLED, StepState.SUCCESS, StepState.CANCELLED]


async def test_the_events_of_a_suspension_are_told_in_order(autojump_clock: object) -> None:
    async with memory_world(ask) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        await settle(world, run_id)
        await world.resume(run_id, {"yes": True}, wait=True)
        events = (await world.events.events(EventsParams(run_id), world.client)).events
        assert [event.type for event in events] == [
            "run.created",
            "run.started",
            "item.started",
            "step.started",
            "step.suspended",
            "run.suspended",
            "step.resumed",
            "step.completed",
            "item.completed",
            "run.completed",
        ]


# --- which one is meant ---


async def test_a_resume_that_may_mean_several_is_told_which_there_are(autojump_clock: object) -> None:
    async with memory_world(ask) as world:
        run_id = (await world.submit(ONE, [1, 2, 3])).run_id
        await settle(world, run_id)
        with pytest.raises(RpcError) as caught:
            await world.resume(run_id, {"yes": True})
        error = expect_code(caught.value, ErrorCode.NOT_SUSPENDED)
        assert [entry["itemIndex"] for entry in error.data["available"]] == [0, 1, 2]
        await world.resume(run_id, {"yes": True}, item_index=1)
        status = await settle(world, run_id)
        assert status.items.suspended == 2
        assert outcomes(await world.get(run_id, include_results=True)) == [(1, "success")]


@pytest.mark.parametrize(
    "wrong", [{"step": "b"}, {"label": "2"}, {"item_index": 7}, {"item_index": 0, "step": "a", "label": "x"}]
)
async def test_a_resume_of_what_is_not_suspended_changes_nothing(autojump_clock: object, wrong: dict[str, Any]) -> None:
    async with memory_world(ask) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        before = await settle(world, run_id)
        with pytest.raises(RpcError) as caught:
            await world.resume(run_id, {"yes": True}, **wrong)
        assert expect_code(caught.value, ErrorCode.NOT_SUSPENDED).data["available"] == []
        assert await world.get(run_id) == before


async def test_data_that_does_not_fit_leaves_the_run_suspended(autojump_clock: object) -> None:
    async with memory_world(ask) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        before = await settle(world, run_id)
        for wrong in (None, {}, {"yes": "of course"}):
            with pytest.raises(RpcError) as caught:
                await world.resume(run_id, wrong)
            assert expect_code(caught.value, ErrorCode.VALIDATION_FAILED).data["issues"]
        assert await world.get(run_id) == before
        assert (await world.resume(run_id, {"yes": False}, wait=True)).status is RunState.SUCCESS


async def test_of_two_resumes_at_once_one_wins_and_the_other_is_told_so(autojump_clock: object) -> None:
    async with memory_world(ask) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        await settle(world, run_id)
        codes: list[int | None] = []

        async def resume(yes: bool) -> None:
            try:
                await world.resume(run_id, {"yes": yes})
                codes.append(None)
            except RpcError as error:
                codes.append(error.code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(resume, True)
            nursery.start_soon(resume, False)
        assert sorted(codes, key=str) == [ErrorCode.ALREADY_RESUMED, None]
        assert (await world.finish(run_id)).status is RunState.SUCCESS
        with pytest.raises(RpcError) as caught:
            await world.resume(run_id, {"yes": True})
        expect_code(caught.value, ErrorCode.ALREADY_RESUMED)


async def test_a_repeated_request_is_of_the_same_suspension(autojump_clock: object) -> None:
    async with memory_world(ask_twice) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        await settle(world, run_id)
        await world.resume(run_id, 1, request_id="first")
        again = await settle(world, run_id)
        assert again.suspensions is not None
        assert [suspension.label for suspension in again.suspensions] == ["q1"]
        assert (await world.resume(run_id, 1, request_id="first")).status is RunState.SUSPENDED
        assert (await world.resume(run_id, 2, request_id="second", wait=True)).status is RunState.SUCCESS
        assert (await world.resume(run_id, 2, request_id="second")).status is RunState.SUCCESS
        assert values((await world.finish(run_id)).results or []) == [[1, 2]]


async def test_of_an_item_only_what_is_durable_is_read(autojump_clock: object) -> None:
    """One of its steps is resumed, and when that is durable the other one, right before the item is read."""
    async with memory_world(ask) as world:
        run_id = (await world.submit(flow(step("a"), step("b"), output=[ref("a"), ref("b")]), [1])).run_id
        await settle(world, run_id)
        run, waking = world.executor.active(RunId(run_id)), world.executor.waking
        assert run is not None
        (late,) = await world.runs.suspensions.find(run, Wanted(step="b"), 1)
        wait_committed = world.executor.wait_committed

        async def wait_and_resume(run: ActiveRun, seq: int) -> None:
            await wait_committed(run, seq)
            waking.resume(run, late, b'{"yes":false}', None)

        waking._wait_committed = wait_and_resume
        await world.resume(run_id, {"yes": True}, step="a")
        assert values((await world.finish(run_id)).results or []) == [[{"yes": True}, {"yes": False}]]


async def test_a_token_alone_suffices(autojump_clock: object) -> None:
    def ask_under_token(execution: Execution) -> Answer:
        return execution.resumes[-1].data if execution.resumes else Suspension(token=f"token-{execution.item_index}")

    async with memory_world(ask_under_token) as world:
        run_id = (await world.submit(ONE, [1, 2])).run_id
        await settle(world, run_id)
        assert (await world.resume(data="yes", token="token-1")).run_id == run_id
        with pytest.raises(RpcError) as caught:
            await world.resume(data="yes", token="token-1")
        expect_code(caught.value, ErrorCode.ALREADY_RESUMED)
        with pytest.raises(RpcError) as caught:
            await world.resume(data="yes", token="token-7")
        assert expect_code(caught.value, ErrorCode.NOT_FOUND).data["kind"] == "token"
        await world.resume(data="yes", token="token-0")
        assert (await world.finish(run_id)).status is RunState.SUCCESS


async def test_a_token_is_unique_while_it_is_active(autojump_clock: object) -> None:
    def ask_under_one_token(execution: Execution) -> Answer:
        return execution.resumes[-1].data if execution.resumes else Suspension(token="the one")

    async with memory_world(ask_under_one_token) as world:
        run_id = (await world.submit(ONE, [1, 2], max_concurrency=1)).run_id
        status = await settle(world, run_id)
        assert (status.items.suspended, status.items.failed) == (1, 1)
        await world.resume(data=1, token="the one")
        await world.finish(run_id)
        other = (await world.submit(ONE, [1])).run_id
        assert (await settle(world, other)).items.suspended == 1


async def test_a_schema_that_is_none_fails_the_step_that_gives_it(autojump_clock: object) -> None:
    async with memory_world(lambda execution: Suspension(schema=b'{"type":"nonsense"}')) as world:
        status = await world.submit(ONE, [1], wait=True)
        assert status.status is RunState.FAILED
        assert status.results is not None
        error = status.results[0].result.error
        assert error is not None
        assert error.code == "COMPONENT_FAILED"


async def test_cancelling_a_suspended_run_ends_it(autojump_clock: object) -> None:
    async with memory_world(ask) as world:
        run_id = (await world.submit(ONE, [1, 2])).run_id
        await settle(world, run_id)
        await world.cancel(run_id, item_indexes=[0])
        assert (await world.get(run_id)).items.cancelled == 1
        result = await world.cancel(run_id)
        assert result.run.status is RunState.CANCELLED
        with pytest.raises(RpcError) as caught:
            await world.resume(run_id, {"yes": True})
        expect_code(caught.value, ErrorCode.NOT_SUSPENDED)


# --- time ---


async def test_a_sleeping_run_goes_on_by_itself(autojump_clock: object) -> None:
    async with memory_world(doze) as world:
        run_id = (await world.submit(ONE, range(20), max_concurrency=2)).run_id
        await trio.sleep(60)
        status = await world.get(run_id)
        assert (status.status, status.status_detail) == (RunState.RUNNING, "sleeping")
        assert status.items.running == 20
        assert not world.caller.held
        assert (await world.finish(run_id)).status is RunState.SUCCESS
        assert 3600 <= trio.current_time() < 3700
        assert world.caller.peak[next(iter(world.caller.peak))] <= 2


async def test_sleepers_are_woken(autojump_clock: object) -> None:
    async with memory_world(doze) as world:
        run_id = (await world.submit(ONE, range(3))).run_id
        await trio.sleep(1)
        assert await world.wake_up(run_id, ["another"]) == 0
        assert await world.wake_up(run_id) == 3
        assert await world.wake_up(run_id) == 0
        assert (await world.finish(run_id)).status is RunState.SUCCESS
        assert trio.current_time() < 60
        assert await world.wake_up(run_id) == 0


async def test_a_suspension_that_is_not_ended_in_time_fails_its_item(autojump_clock: object) -> None:
    async with memory_world(lambda execution: Suspension(timeout_ms=5000)) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        status = await settle(world, run_id)
        assert status.suspensions is not None
        assert status.suspensions[0].expires_at is not None
        status = await world.finish(run_id)
        assert status.results is not None
        assert status.results[0].result.error is not None
        assert status.results[0].result.error.code == "TIMEOUT"


async def test_a_delayed_run_begins_when_it_is_to(autojump_clock: object) -> None:
    async with memory_world() as world:
        until = datetime.fromtimestamp(EPOCH_MS / 1000 + 100, UTC).isoformat()
        status = await world.submit(ONE, [1, 2], delay_until=until, idempotency_key="k")
        assert (status.status, status.status_detail) == (RunState.PENDING, "sleeping")
        await trio.sleep(99)
        assert not world.caller.calls
        with pytest.raises(RpcError):
            await world.submit(ONE, [1, 2], idempotency_key="k")
        assert (await world.finish(status.run_id)).status is RunState.SUCCESS
        assert trio.current_time() >= 100


async def test_a_clock_that_is_set_back_delays_no_run(autojump_clock: object) -> None:
    async with open_memory() as store:
        async with open_world(store) as world:
            run_id = (await world.submit(ONE, [], sealed=False)).run_id
        async with open_world(store, boot=2, epoch_ms=EPOCH_MS - 3_600_000) as world:
            await world.append(run_id, 0, [b"1"], sealed=True)
            assert (await world.finish(run_id)).status is RunState.SUCCESS
        assert trio.current_time() < 60


async def test_an_execution_sleeps_for_the_rest_when_it_is_executed_again(autojump_clock: object) -> None:
    slept: list[tuple[int, float, bool]] = []

    def behave(execution: Execution) -> Any:
        async def nap(execution: Execution) -> Answer:
            began_at = trio.current_time()
            world = worlds[-1]
            woken = await world.executor.waking.sleep(execution, "/1", EPOCH_MS + 100_000, None)
            slept.append((execution.attempt, trio.current_time() - began_at, woken))
            return GONE if execution.attempt < 3 else b"1"

        return nap

    worlds: list[World] = []
    async with open_memory() as store:
        async with open_world(store, behave, before_start=worlds.append) as world:
            run_id = (await world.submit(ONE, [1])).run_id
            await trio.sleep(40)
        async with open_world(store, behave, boot=2, epoch_ms=EPOCH_MS + 1000, before_start=worlds.append) as world:
            assert (await world.finish(run_id)).status is RunState.SUCCESS
            assert await world.wake_up(run_id) == 0
    (again, rest, woken), (third, nothing, _) = slept
    assert (again, woken, third) == (2, False, 3)
    assert 50 < rest < 70, "what was slept before the restart counts"
    assert nothing < 1, "a sleep that is over is over for every attempt"


async def test_an_execution_that_sleeps_is_woken_by_its_correlation_id(autojump_clock: object) -> None:
    async def nap(execution: Execution) -> Answer:
        until_ms = EPOCH_MS + 10_000_000
        return b"true" if await world.executor.waking.sleep(execution, "a/1", until_ms, "a") else b"false"

    async with memory_world(lambda execution: nap) as world:
        run_id = (await world.submit(ONE, [1, 2])).run_id
        await trio.sleep(10)
        assert await world.wake_up(run_id, ["b"]) == 0
        assert await world.wake_up(run_id, ["b", "a"]) == 2
        assert values((await world.finish(run_id)).results or []) == [True, True]
        assert trio.current_time() < 100


# --- restarts ---


@asynccontextmanager
async def reopened(path: Path, behave: Any, boot: int, now_ms: int) -> AsyncGenerator[World]:
    async with (
        open_sqlite(path, synchronous="OFF", inline_only=True) as store,
        open_world(store, behave, boot=boot, epoch_ms=now_ms) as world,
    ):
        yield world


async def test_what_waits_survives_restarts(autojump_clock: object, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    def behave(execution: Execution) -> Answer:
        if execution.step_id == "doze":
            return doze(execution)
        return execution.resumes[-1].data if execution.resumes else Suspension(token=f"t{execution.item_index}")

    async with reopened(path, behave, 1, EPOCH_MS) as world:
        asking = (await world.submit(ONE, range(30), max_concurrency=4)).run_id
        dozing = (await world.submit(flow(step("doze")), range(30), max_concurrency=4)).run_id
        until = datetime.fromtimestamp(EPOCH_MS / 1000 + 7200, UTC).isoformat()
        later = (await world.submit(ONE, [1], delay_until=until)).run_id
        await settle(world, asking)
        await trio.sleep(10)
    async with reopened(path, behave, 2, EPOCH_MS + 3_599_000) as world:
        for item in range(30):
            await world.resume(data=item, token=f"t{item}")
        status = await world.finish(asking)
        assert values(status.results or []) == list(range(30))
        assert (await world.finish(dozing)).status is RunState.SUCCESS
        assert (await world.get(later)).status_detail == "sleeping"
        assert (await settle(world, later)).status is RunState.SUSPENDED


async def test_a_pause_outlives_the_runtime(autojump_clock: object) -> None:
    async with open_memory() as store:
        run_id = await _pause_and_leave(store)
        async with open_world(store, boot=2) as world:
            await trio.sleep(100)
            status = await world.get(run_id)
            assert (status.status_detail, status.items.success) == ("paused", 0)
            assert not world.caller.calls
            await world.unpause(run_id)
            assert (await world.finish(run_id)).status is RunState.SUCCESS
            with pytest.raises(RpcError) as caught:
                await world.pause(run_id)
            expect_code(caught.value, ErrorCode.CONFLICT)


async def _pause_and_leave(store: MemoryStore) -> str:
    async with open_world(store, lambda execution: None) as world:
        run_id = (await world.submit(ONE, range(5), max_concurrency=2)).run_id
        await settle_down()
        status = await world.pause(run_id)
        assert status.status_detail == "paused"
        assert (await world.pause(run_id)).status_detail == "paused"
        return run_id
