"""`runs/submit`, `get`, `append`, `cancel` and `delete`, as a peer sees them but for the wire."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from msgspec import Raw

from protocol.errors import ErrorCode, RpcError
from protocol.runs import CancelOutcome, MaxFailures, ResultOrder, RunParams, RunState, RunStatus, SubmitParams
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import Execution, RunFilter
from stepflow_runtime.services import waiting
from stepflow_runtime.services.submission import SubmitLimits
from tests.stepflow_runtime.engine.world import (
    BOOM,
    CHAIN,
    GONE,
    ONE,
    World,
    echo,
    expect_code,
    flow,
    hold,
    memory_world,
    outcomes,
    ref,
    settle_down,
    step,
    values,
)


async def refused(call: Callable[[], Awaitable[Any]], code: ErrorCode) -> dict[str, Any]:
    """Calls what must be refused, and gives the error's data."""
    with pytest.raises(RpcError) as caught:
        await call()
    return expect_code(caught.value, code).data


def wire(status: RunStatus) -> dict[str, Any]:
    return dict(msgspec.json.decode(msgspec.json.encode(status)))


# --- shapes ---


async def test_a_waited_run_has_the_published_shape(autojump_clock: object) -> None:
    async with memory_world() as world:
        shape = wire(await world.submit(ONE, [{"a": 1}, 2.50], wait=True, flow_label="nightly", labels={"k": "v"}))
    assert {"runId", "flowId", "flowName", "status", "items", "createdAt", "completedAt", "results"} <= shape.keys()
    assert (shape["status"], shape["flowName"], shape["flowLabel"]) == ("success", "One step", "nightly")
    assert shape["labels"] == {"k": "v"}
    assert shape["items"] == {"total": 2, "pending": 0, "running": 0, "success": 2, "failed": 0, "cancelled": 0}
    assert shape["createdAt"] == "2026-09-21T14:13:20.000Z"
    assert shape["results"][0] == {
        "itemIndex": 0,
        "result": {"outcome": "success", "value": {"a": 1}},
        "completedAt": shape["completedAt"],
    }
    assert not {"parentRunId", "rootRunId", "deduplicated", "nextOffset", "statusDetail", "cancelReason"} & shape.keys()


async def test_a_run_that_is_not_waited_for_is_told_without_results(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        shape = wire(await world.submit(ONE, range(3), max_concurrency=2))
        assert "results" not in shape
        assert "completedAt" not in shape
        assert shape["items"]["total"] == 3
        await settle_down()
        assert wire(await world.get(shape["runId"]))["items"] == {
            "total": 3, "pending": 1, "running": 2, "success": 0, "failed": 0, "cancelled": 0,
        }  # fmt: skip


async def test_values_pass_through_digit_for_digit(autojump_clock: object) -> None:
    async with memory_world() as world:
        status = await world.submit(ONE, [b'{"a":  1.50}', b"null", b"12345678901234567890.0"], wait=True)
        raw = [bytes(entry.result.value) for entry in status.results or [] if isinstance(entry.result.value, Raw)]
        assert raw == [b'{"a":  1.50}', b"null", b"12345678901234567890.0"]


async def test_failed_items_have_their_error_and_no_value(autojump_clock: object) -> None:
    async with memory_world(lambda _: BOOM) as world:
        shape = wire(await world.submit(ONE, [1], wait=True))
    assert shape["results"][0]["result"] == {
        "outcome": "failed",
        "error": {"code": "COMPONENT_FAILED", "message": "boom"},
    }
    assert shape["status"] == "failed"


async def test_no_inputs_are_a_success_with_no_items(autojump_clock: object) -> None:
    async with memory_world() as world:
        shape = wire(await world.submit(ONE, [], wait=True))
    assert (shape["status"], shape["items"]["total"], shape["results"]) == ("success", 0, [])


async def test_a_wait_is_bounded_and_the_run_is_not(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        status = await world.submit(ONE, [1], wait=True, timeout_ms=1500)
        assert trio.current_time() == pytest.approx(1.5)
        assert (status.status, status.results) == (RunState.RUNNING, None)
        world.caller.answer(world.caller.find(0))
        assert (await world.finish(status.run_id)).status is RunState.SUCCESS


async def test_a_failure_policy_strikes(autojump_clock: object) -> None:
    async with memory_world(lambda e: BOOM if e.item_index % 2 else b"1") as world:
        status = await world.submit(ONE, range(10), wait=True, max_concurrency=1, failure_policy=MaxFailures(1))
        assert outcomes(status)[3] == (3, "failed")
        assert {result.result.reason for result in (status.results or [])[4:]} == {"failurePolicy"}


# --- results ---


async def test_results_are_told_in_both_orders_also_while_the_run_goes_on(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(CHAIN, range(6))).run_id
        await settle_down()
        order = [4, 1, 3]
        for item in order:
            for name in "abc":
                world.caller.answer(world.caller.find(item, name), outcome=b"%d" % item)
                await settle_down()
        by_index = await world.get(run_id, include_results=True)
        by_completion = await world.get(run_id, include_results=True, result_order=ResultOrder.BY_COMPLETION)
        assert [entry.item_index for entry in by_index.results or []] == sorted(order)
        assert [entry.item_index for entry in by_completion.results or []] == order
        assert values(by_completion.results or []) == order


async def test_a_step_that_ends_no_item_is_no_result(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(CHAIN, range(2))).run_id
        await settle_down()
        for name in "ab":
            world.caller.answer(world.caller.find(0, name))
            await settle_down()
        world.caller.answer(world.caller.find(0, "c"), world.caller.find(1, "a"), outcome=b"7")
        await settle_down()
        status = await world.get(run_id, include_results=True, result_order=ResultOrder.BY_COMPLETION)
        assert [entry.item_index for entry in status.results or []] == [0]


@pytest.mark.parametrize("order", list(ResultOrder))
async def test_pages_of_results_join_without_gap_or_overlap(order: ResultOrder, autojump_clock: object) -> None:
    async with memory_world() as world:
        run_id = (await world.submit(ONE, range(2500), wait=True, max_concurrency=7)).run_id
        whole = await world.get(run_id, include_results=True, result_order=order)
        pages: list[Any] = []
        offset: int | None = 0
        while offset is not None:
            page = await world.get(
                run_id, include_results=True, result_order=order, result_offset=offset, result_limit=333
            )
            assert len(page.results or []) == 333 or page.next_offset is None
            pages.extend(page.results or [])
            offset = page.next_offset
        assert pages == whole.results
        assert len(pages) == 2500


@pytest.mark.parametrize("order", list(ResultOrder))
async def test_an_answer_holds_as_many_results_as_fit_a_frame(order: ResultOrder, autojump_clock: object) -> None:
    frame = 256 * 1024
    async with memory_world(max_frame_bytes=frame) as world:
        status = await world.submit(ONE, ["x" * 20_000] * 50, wait=True)
        assert len(msgspec.json.encode(status)) < frame
        assert status.next_offset == len(status.results or []) < 50
        count, offset = 0, 0
        while offset is not None:
            page = await world.get(status.run_id, include_results=True, result_order=order, result_offset=offset)
            assert len(msgspec.json.encode(page)) < frame
            count += len(page.results or [])
            offset = page.next_offset  # type: ignore[assignment]
        assert count == 50


# --- idempotency ---


async def test_a_wait_that_is_refused_leaves_no_run_behind(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def refuse(*, over_limit: bool = False) -> Generator[None]:
        raise RpcError(ErrorCode.THROTTLED, "too many wait")
        yield

    async with memory_world() as world:
        monkeypatch.setattr(waiting, "parked", refuse)
        await refused(partial(world.submit, ONE, [1], wait=True), ErrorCode.THROTTLED)
        assert not await world.store.runs(RunFilter(), None, 10)


async def test_the_same_key_a_hundred_times_at_once_is_one_run(autojump_clock: object) -> None:
    async with memory_world() as world:
        answers: list[RunStatus] = []

        async def submit() -> None:
            answers.append(await world.submit(ONE, range(3), wait=True, idempotency_key="k", run_timeout_ms=60_000))

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(submit)
        assert len({answer.run_id for answer in answers}) == 1
        assert sorted(bool(answer.deduplicated) for answer in answers) == [False] + [True] * 99
        assert len(world.caller.calls) == 3
        await trio.sleep(1000)  # the time-outs of those that were refused


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": [1, 2]},
        {"overrides": {"steps": {"a": {"value": {"input": 1}}}}},
        {"failure_policy": "failFast"},
        {"variables": {"v": Raw(b"1")}},
    ],
)
async def test_a_key_with_other_content_is_a_conflict(change: dict[str, Any], autojump_clock: object) -> None:
    async with memory_world() as world:
        first = await world.submit(ONE, [1], idempotency_key="k")
        change = dict(change)
        again = partial(world.submit, ONE, change.pop("inputs", [1]), idempotency_key="k", **change)
        assert (await refused(again, ErrorCode.CONFLICT))["runId"] == first.run_id


async def test_the_same_content_may_be_written_otherwise(autojump_clock: object) -> None:
    async with memory_world() as world:
        first = await world.submit(ONE, [b'{"a":1,"b":2}'], idempotency_key="k")
        again = await world.submit(ONE, [b'{ "b": 2, "a": 1 }'], idempotency_key="k", max_concurrency=3)
        assert (again.run_id, again.deduplicated) == (first.run_id, True)


# --- sub-runs ---


async def begin_parent(world: World, **params: Any) -> tuple[RunStatus, Execution]:
    retried = flow(step("a", onError={"action": "retry"}))
    parent = await world.submit(retried, [1], **params)
    await settle_down()
    return parent, world.caller.find(0)


async def fail(world: World, execution: Execution, outcome: Any) -> Execution:
    world.caller.answer(execution, outcome=outcome)
    await trio.sleep(20)
    (again,) = [held for held in world.caller.held if held.run_id == execution.run_id]
    assert again.attempt == execution.attempt + 1
    return again


async def test_a_sub_run_knows_its_parent_and_the_parent_tells_of_it(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        parent, execution = await begin_parent(world)
        child = await world.submit(ONE, [1], by=execution)
        assert (child.parent_run_id, child.root_run_id) == (parent.run_id, parent.run_id)
        await settle_down()
        assert "ChildCreated" in [type(event).__name__ for event in await world.journal(parent.run_id)]


@pytest.mark.parametrize("outcome", [BOOM, GONE])
async def test_the_next_attempt_finds_its_running_sub_runs_in_any_order(outcome: Any, autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        _, first = await begin_parent(world)
        one, two, same = [await world.submit(ONE, inputs, by=first) for inputs in ([1], [2], [1])]
        assert len({one.run_id, two.run_id, same.run_id}) == 3
        second = await fail(world, first, outcome)
        found = [await world.submit(ONE, inputs, by=second) for inputs in ([2], [1], [1], [3])]
        assert [run.run_id for run in found[:3]] == [two.run_id, one.run_id, same.run_id]
        assert [run.deduplicated for run in found] == [True, True, True, None]


@pytest.mark.parametrize(
    ("ends", "is_found"),
    [([BOOM], False), ([GONE], True), ([GONE, GONE], True), ([GONE, BOOM], False), ([BOOM, GONE], False)],
)
async def test_a_failed_sub_run_is_replaced_after_an_error_and_found_after_a_loss(
    ends: list[Any], is_found: bool, autojump_clock: object
) -> None:
    async with memory_world(hold) as world:
        _, first = await begin_parent(world)
        child = await world.submit(ONE, [1], by=first)
        await settle_down()
        (held,) = [held for held in world.caller.held if held.run_id == child.run_id]
        world.caller.answer(held, outcome=BOOM)
        await settle_down()
        last = first
        for end in ends:
            last = await fail(world, last, end)
        again = await world.submit(ONE, [1], by=last)
        assert (again.run_id == child.run_id) is is_found


async def test_sub_runs_that_the_last_attempt_did_not_claim_are_cancelled(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        _, first = await begin_parent(world)
        claimed = await world.submit(ONE, [1], by=first)
        unclaimed = await world.submit(ONE, [2], by=first)
        abandoned = await world.submit(ONE, [3], by=first, parent_close_policy="abandon")
        second = await fail(world, first, BOOM)
        await world.submit(ONE, [1], by=second)
        world.caller.answer(second)
        status = await world.finish(unclaimed.run_id)
        assert (status.status, status.cancel_reason) == (RunState.CANCELLED, "unclaimed")
        for run in (claimed, abandoned):
            assert (await world.get(run.run_id)).status is RunState.RUNNING


async def test_a_cancellation_goes_down_the_tree_by_the_policies(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        parent, execution = await begin_parent(world)
        child = await world.submit(ONE, [1], by=execution)
        abandoned = await world.submit(ONE, [2], by=execution, parent_close_policy="abandon")
        await settle_down()
        (inner,) = [held for held in world.caller.held if held.run_id == child.run_id]
        grandchild = await world.submit(ONE, [1], by=inner)
        await world.cancel(parent.run_id, reason="enough")
        for run in (child, grandchild):
            status = await world.finish(run.run_id)
            assert (status.status, status.cancel_reason) == (RunState.CANCELLED, "parentCancelled")
        assert (await world.get(abandoned.run_id)).status is RunState.RUNNING


async def test_a_cancelled_item_takes_its_sub_runs_with_it_and_an_ended_one_leaves_them(
    autojump_clock: object,
) -> None:
    async with memory_world(hold) as world:
        parent = await world.submit(ONE, range(3))
        await settle_down()
        executions = [world.caller.find(item) for item in range(3)]
        children = [await world.submit(ONE, [1], by=execution) for execution in executions]
        world.caller.answer(executions[0])
        await world.cancel(parent.run_id, item_indexes=[0, 1])
        await trio.sleep(10)
        states = [(await world.get(child.run_id)).status for child in children]
        assert states == [RunState.RUNNING, RunState.CANCELLED, RunState.RUNNING]


async def test_a_run_that_is_being_cancelled_submits_nothing(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        parent, execution = await begin_parent(world)
        world.caller.heeds_interrupt = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.cancel, parent.run_id)
            await trio.sleep(1)
            await refused(partial(world.submit, ONE, [1], by=execution), ErrorCode.NOT_CURRENT)


async def test_a_cancellation_reaches_a_sub_run_that_is_just_being_created(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        parent, execution = await begin_parent(world)

        async def slowly(_: int) -> None:
            await trio.sleep(1)

        world.store.before = slowly
        world.caller.heeds_interrupt = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(world.submit, ONE, [1], by=execution))
            await trio.sleep(0.5)
            await world.cancel(parent.run_id)
        (child,) = await world.store.children(RunId(parent.run_id))
        assert (await world.finish(child.spec.run_id)).status is RunState.CANCELLED


async def test_a_parent_that_ends_otherwise_leaves_its_sub_runs(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        parent, execution = await begin_parent(world)
        child = await world.submit(ONE, [1], by=execution)
        world.caller.answer(execution)
        await world.finish(parent.run_id)
        await trio.sleep(100)
        assert (await world.get(child.run_id)).status is RunState.RUNNING


async def test_sixteen_runs_nest_and_the_seventeenth_is_refused(autojump_clock: object) -> None:
    async def nest(execution: Execution) -> bytes:
        status = await world.submit(ONE, [1], by=execution, wait=True, max_concurrency=1)
        (entry,) = status.results or []
        if entry.result.error is not None:
            return msgspec.json.encode(entry.result.error.message)
        assert isinstance(entry.result.value, Raw)
        return bytes(entry.result.value)

    async with memory_world(lambda _: nest) as world:
        with trio.fail_after(1000):
            status = await world.submit(ONE, [1], wait=True, max_concurrency=1)
        assert values(status.results or []) == ["runs are nested too deeply: maxRunDepth is 16"]
        assert len(world.caller.calls) == 16
        assert world.caller.parked == 0


async def test_a_tree_has_so_many_descendants_and_no_more(autojump_clock: object) -> None:
    async with memory_world(hold, limits=SubmitLimits(max_descendants=3)) as world:
        parent, execution = await begin_parent(world)
        for number in range(3):
            await world.submit(ONE, [number], by=execution)
        data = await refused(partial(world.submit, ONE, [3], by=execution), ErrorCode.LIMIT_EXCEEDED)
        assert (data["limit"], data["value"], data["runId"]) == ("maxDescendants", 3, parent.run_id)


async def test_a_waiting_execution_is_parked_and_unparked(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        _, execution = await begin_parent(world)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(world.submit, ONE, [1], by=execution, wait=True))
            await settle_down()
            assert world.caller.parked == 1
            world.caller.answer(*[held for held in world.caller.held if held is not execution])
        assert world.caller.parked == 0


# --- append ---


async def test_an_append_is_answered_with_the_total_and_a_repeat_with_the_same(autojump_clock: object) -> None:
    async with memory_world() as world:
        run_id = (await world.submit(ONE, [0], sealed=False)).run_id
        assert (await world.get(run_id)).status_detail == "open"
        for _ in range(2):
            result = await world.append(run_id, 1, [b"1", b"2"])
            assert result is not None
            assert result.total == 3
        for _ in range(2):
            await world.append(run_id, 3, [b"3"], sealed=True)
        status = await world.finish(run_id)
        assert values(status.results or []) == [0, 1, 2, 3]
        await world.append(run_id, 1, [b"1", b"2"])


async def test_a_repeat_while_the_first_is_under_way_gets_the_same_answer(autojump_clock: object) -> None:
    async with memory_world() as world:
        run_id = (await world.submit(ONE, [0], sealed=False)).run_id
        await settle_down()

        async def slowly(_: int) -> None:
            await trio.sleep(1)

        world.store.before = slowly
        totals: list[int] = []

        async def append() -> None:
            result = await world.append(run_id, 1, [b"1", b"2"])
            assert result is not None
            totals.append(result.total)
            assert trio.current_time() >= 1, "it was answered before it was durable"

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(append)
        assert totals == [3] * 5


@pytest.mark.parametrize(("index", "inputs"), [(0, [b"9"]), (5, [b"1"]), (1, [b"1"]), (2, [b"1", b"2"])])
async def test_an_append_that_does_not_fit_is_a_conflict(
    index: int, inputs: list[bytes], autojump_clock: object
) -> None:
    async with memory_world() as world:
        run_id = (await world.submit(ONE, [0, 0, 0], sealed=False)).run_id
        data = await refused(partial(world.append, run_id, index, inputs), ErrorCode.CONFLICT)
        assert (data["total"], data["runId"]) == (3, run_id)


async def test_nothing_is_appended_to_a_sealed_run(autojump_clock: object) -> None:
    async with memory_world() as world:
        run_id = (await world.submit(ONE, [0], wait=True)).run_id
        await refused(partial(world.append, run_id, 1, [b"1"]), ErrorCode.CONFLICT)


# --- cancel and delete ---


async def test_cancelling_tells_what_it_did(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, range(3), max_concurrency=2)).run_id
        result = await world.cancel(run_id, reason="enough")
        assert (result.outcome, result.run.status) == (CancelOutcome.CANCELLED, RunState.CANCELLED)
        assert (result.run.items.cancelled, result.run.cancel_reason) == (3, "enough")
        assert (await world.cancel(run_id)).outcome is CancelOutcome.ALREADY_CANCELLED


async def test_an_ended_run_is_not_cancellable(autojump_clock: object) -> None:
    async with memory_world() as world:
        run_id = (await world.submit(ONE, [1], wait=True)).run_id
        result = await world.cancel(run_id)
        assert (result.outcome, result.run.status) == (CancelOutcome.NOT_CANCELLABLE, RunState.SUCCESS)


async def test_results_that_come_in_the_grace_count(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        await settle_down()
        world.caller.heeds_interrupt = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(world.cancel, run_id, grace_ms=2000))
            await trio.sleep(1)
            assert (await world.get(run_id)).status_detail == "cancelling"
            world.caller.answer(world.caller.find(0))
        assert (await world.get(run_id)).status is RunState.SUCCESS


async def test_the_grace_is_as_long_as_was_asked_for(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        await settle_down()
        world.caller.heeds_interrupt = False
        await world.cancel(run_id, grace_ms=2000)
        assert trio.current_time() == pytest.approx(2)


async def test_single_items_are_cancelled_and_the_others_go_on(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, range(4), max_concurrency=2)).run_id
        await settle_down()
        assert (await world.cancel(run_id, item_indexes=[1, 3])).outcome is CancelOutcome.CANCELLED
        world.caller.behave = echo
        world.caller.answer(*world.caller.held)
        assert outcomes(await world.finish(run_id)) == [
            (0, "success"), (1, "cancelled"), (2, "success"), (3, "cancelled"),
        ]  # fmt: skip


async def test_who_cancels_what_another_one_cancels_is_told_what_came_of_it(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, range(4), max_concurrency=3)).run_id
        await settle_down()
        told: dict[str, CancelOutcome] = {}

        async def cancel(name: str, *items: int) -> None:
            told[name] = (await world.cancel(run_id, item_indexes=list(items), grace_ms=2000)).outcome

        world.caller.heeds_interrupt = False
        async with trio.open_nursery() as nursery:
            for name, items in {"first": [0], "second": [0], "other": [1], "waiting": [3]}.items():
                nursery.start_soon(cancel, name, *items)
            await settle_down()
            world.caller.answer(world.caller.find(1))
        await cancel("again", 0, 3)
        await cancel("succeeded", 1)
        await cancel("both", 0, 1)
        assert told == {
            "first": CancelOutcome.CANCELLED,
            "second": CancelOutcome.CANCELLED,
            "other": CancelOutcome.NOT_CANCELLABLE,
            "waiting": CancelOutcome.CANCELLED,
            "again": CancelOutcome.ALREADY_CANCELLED,
            "succeeded": CancelOutcome.NOT_CANCELLABLE,
            "both": CancelOutcome.ALREADY_CANCELLED,
        }


@pytest.mark.parametrize(
    ("is_answered", "outcome", "end"),
    [
        (True, CancelOutcome.NOT_CANCELLABLE, RunState.SUCCESS),
        (False, CancelOutcome.CANCELLED, RunState.CANCELLED),
    ],
)
async def test_of_an_end_and_a_cancellation_that_meet_one_wins_for_everybody(
    is_answered: bool, outcome: CancelOutcome, end: RunState, autojump_clock: object
) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        await settle_down()
        told: list[tuple[CancelOutcome, RunState]] = []
        have_met = trio.Event()

        async def commit_when_they_have_met(_: int) -> None:
            await have_met.wait()

        async def cancel() -> None:
            result = await world.cancel(run_id)
            told.append((result.outcome, result.run.status))

        world.store.before = commit_when_they_have_met
        async with trio.open_nursery() as nursery:
            if is_answered:
                world.caller.answer(world.caller.find(0))
            for _ in range(3):
                nursery.start_soon(cancel)
            await settle_down()
            have_met.set()
        assert told == [(outcome, end)] * 3
        assert (await world.finish(run_id)).status is end


async def test_an_ended_run_is_deleted_with_its_descendants_and_a_running_one_is_not(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        parent, execution = await begin_parent(world)
        child = await world.submit(ONE, [1], by=execution)
        delete = partial(world.runs.delete, RunParams(parent.run_id), world.client)
        assert (await refused(delete, ErrorCode.CONFLICT))["runId"] == parent.run_id
        world.caller.answer(execution)
        await world.finish(parent.run_id)
        assert (await refused(delete, ErrorCode.CONFLICT))["runId"] == child.run_id
        await world.cancel(child.run_id)
        await delete()
        for run_id in (parent.run_id, child.run_id):
            await refused(partial(world.get, run_id), ErrorCode.RUN_NOT_FOUND)


# --- what is refused ---


async def test_what_is_not_there_is_not_found(autojump_clock: object) -> None:
    async with memory_world() as world:
        nothing = "01910000-0000-7000-8000-000000000000"
        for call in (
            partial(world.get, nothing),
            partial(world.cancel, nothing),
            partial(world.append, nothing, 0, []),
            partial(world.runs.delete, RunParams(nothing), world.client),
        ):
            assert (await refused(call, ErrorCode.RUN_NOT_FOUND))["runId"] == nothing
        submission = SubmitParams("blake3:" + "0" * 64, [])
        data = await refused(partial(world.runs.submit, submission, world.client), ErrorCode.NOT_FOUND)
        assert data["kind"] == "flow"


async def test_what_can_never_run_is_refused_with_its_issues(autojump_clock: object) -> None:
    async with memory_world() as world:
        cycle = flow(step("a", ref("b")), step("b", ref("a")))
        data = await refused(partial(world.submit, cycle, [1]), ErrorCode.VALIDATION_FAILED)
        assert data["issues"]
        unknown: dict[str, Any] = {"steps": {"nobody": {"value": {}}}}
        data = await refused(partial(world.submit, ONE, [1], overrides=unknown), ErrorCode.VALIDATION_FAILED)
        assert data["issues"]


async def test_limits_are_named_where_they_are_hit(autojump_clock: object) -> None:
    async with memory_world(limits=SubmitLimits(max_items_per_submit=2)) as world:
        data = await refused(partial(world.submit, ONE, range(3)), ErrorCode.LIMIT_EXCEEDED)
        assert (data["limit"], data["value"]) == ("maxItemsPerSubmit", 2)


@pytest.mark.parametrize("items", [[], [5]])
async def test_items_that_are_not_there_cannot_be_cancelled(items: list[int], autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, range(2))).run_id
        cancel = partial(world.cancel, run_id, item_indexes=items)
        assert (await refused(cancel, ErrorCode.INVALID_PARAMS))["runId"] == RunId(run_id)
