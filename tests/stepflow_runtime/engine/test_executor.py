"""The shell around the runs: what is committed together, what waits for a commit, and what time does."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from protocol.errors import ErrorCode, RpcError
from protocol.runs import CancelOutcome, RunState
from stepflow_runtime.engine.committer import Superseded
from stepflow_runtime.engine.inputs import MAX_BUFFERED
from stepflow_runtime.model.events import ItemsStarted, StepSucceeded
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import SEGMENT_ITEMS, CommitResult, Execution, Fenced, RunWrite, StoreUnavailable
from stepflow_runtime.store.sqlite import open_sqlite
from tests.stepflow_runtime.engine.world import (
    BOOM,
    CHAIN,
    ONE,
    World,
    describe_facts,
    expect_code,
    flow,
    fold_all,
    hold,
    memory_world,
    open_world,
    outcomes,
    ref,
    settle_down,
    step,
    values,
)


async def slowly(_: int) -> None:
    await trio.sleep(1)


async def refuse(_: int) -> None:
    raise StoreUnavailable("disk full")


async def test_a_run_executes_all_its_items(autojump_clock: object) -> None:
    async with memory_world() as world:
        status = await world.submit(CHAIN, range(50), wait=True, max_concurrency=7)
        assert values(status.results or []) == list(range(50))
        assert world.caller.peak[RunId(status.run_id)] == 7
        assert not world.caller.held


async def test_what_many_submit_at_once_is_committed_together(autojump_clock: object) -> None:
    async with memory_world() as world:
        world.store.before = slowly
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(lambda: world.submit(ONE, range(3), wait=True))
        assert len(world.caller.calls) == 600
        assert len(world.store.commits) <= 6


async def test_nothing_that_depends_on_an_event_begins_before_its_commit(autojump_clock: object) -> None:
    async with memory_world() as world:
        await world.put_flow(CHAIN)
        world.store.before = slowly
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: world.submit(CHAIN, [1], wait=True))
            for expected in (0, 1, 2, 3):
                await trio.sleep(0.5)
                assert len(world.caller.calls) == expected
                await trio.sleep(0.5)


async def test_a_result_and_the_starts_that_follow_from_it_share_a_commit(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        await world.submit(ONE, range(2), max_concurrency=1)
        await settle_down()
        world.caller.answer(world.caller.find(0))
        await settle_down()
        (write,) = world.store.commits[-1]
        assert [type(event) for event in write.events] == [StepSucceeded, ItemsStarted]


async def test_answers_of_one_chunk_count_in_their_order() -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, range(3), failure_policy="failFast")).run_id
        executions = [world.caller.find(item, "a") for item in range(3)]
        world.executor.answered(zip(executions, (b"1", BOOM, b"3"), strict=True))
        world.executor.end_turn()
        status = await world.finish(run_id)
    assert outcomes(status) == [(0, "success"), (1, "failed"), (2, "cancelled")]


async def test_a_runtime_that_drains_begins_no_item(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run = await world.submit(ONE, range(4), max_concurrency=2)
        await settle_down()
        world.executor.hold()
        world.caller.answer(world.caller.find(0))
        await settle_down()
        items = (await world.get(run.run_id)).items
        assert (items.success, items.running, items.pending) == (1, 1, 2)


async def test_a_refused_commit_refuses_new_runs_and_delays_the_others(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        running = await world.submit(ONE, range(2), max_concurrency=1)
        await settle_down()
        world.store.before = refuse
        with pytest.raises(RpcError, match="disk full") as caught:
            await world.submit(ONE, [1], run_timeout_ms=60_000)
        expect_code(caught.value, ErrorCode.INTERNAL_ERROR)
        world.caller.answer(world.caller.find(0))
        await trio.sleep(10)
        assert (await world.get(running.run_id)).items.success == 0
        world.store.before = None
        await trio.sleep(1)
        assert (await world.get(running.run_id)).items.success == 1
        world.caller.answer(world.caller.find(1))
        await world.finish(running.run_id)
        await trio.sleep(100)  # the refused run's timeout is over


async def test_a_run_that_is_refused_while_its_time_is_over_leaves_nothing_behind(autojump_clock: object) -> None:
    async with memory_world() as world:

        async def refuse_slowly(number: int) -> None:
            await trio.sleep(1)
            await refuse(number)

        await world.put_flow(ONE)
        world.store.before = refuse_slowly
        with pytest.raises(RpcError):
            await world.submit(ONE, [1], run_timeout_ms=500)
        world.store.before = None
        await world.submit(ONE, [1], wait=True)


async def test_a_message_that_cannot_be_settled_stops_nothing(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        parent = await world.submit(ONE, [1])
        await settle_down()
        child = await world.submit(ONE, [1], by=world.caller.find(0))

        async def refuse_to_settle(_: int) -> None:
            if world.store.is_settling:
                await refuse(0)

        world.store.before = refuse_to_settle
        await world.cancel(parent.run_id)
        assert (await world.finish(child.run_id)).status is RunState.CANCELLED
        assert len(await world.store.outbox()) > 0


# --- time ---


async def test_a_step_that_lasts_too_long_is_ended_and_tried_again(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        status = await world.submit(flow(step("a", timeoutMs=1000)), [1])
        await trio.sleep(0.9)
        (first,) = world.caller.held
        await trio.sleep(0.2)
        (second,) = world.caller.held
        assert (second.attempt, second.alone) == (2, False)
        assert world.caller.cancelled == [first]
        await trio.sleep(10)
        status = await world.finish(status.run_id)
        (entry,) = status.results or []
        assert entry.result.error is not None
        assert entry.result.error.code == "TIMEOUT"
        assert entry.result.error.data == {"timeoutMs": 1000}
        assert [call.attempt for call in world.caller.calls] == [1, 2, 3, 4]


async def test_an_answer_in_time_disarms_the_timeout(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        status = await world.submit(flow(step("a", timeoutMs=1000), step("b", ref("a"))), [1])
        await trio.sleep(0.5)
        world.caller.answer(world.caller.find(0))
        await trio.sleep(10)
        world.caller.answer(world.caller.find(0, "b"))
        assert (await world.finish(status.run_id)).status is RunState.SUCCESS
        assert not world.caller.cancelled


async def test_a_run_that_lasts_too_long_is_stopped(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        status = await world.submit(ONE, range(3), max_concurrency=1, run_timeout_ms=5000, wait=True)
        assert trio.current_time() == pytest.approx(5)
        assert status.status is RunState.FAILED
        assert {entry.result.reason for entry in status.results or []} == {"runTimeout"}
        assert not world.caller.held


async def test_a_retry_waits_for_its_back_off(autojump_clock: object) -> None:
    def fail_once(execution: Execution) -> object:
        return BOOM if execution.attempt == 1 else b"1"

    backoff = {"type": "constant", "minDelayMs": 4000}
    retried = flow(step("a", onError={"action": "retry", "backoff": backoff}))
    async with memory_world(fail_once) as world:  # type: ignore[arg-type]
        await world.submit(retried, [1], wait=True)
        assert 4 <= trio.current_time() <= 5


async def test_an_open_run_that_is_forgotten_is_sealed(autojump_clock: object) -> None:
    async with memory_world() as world:
        status = await world.submit(ONE, [1], sealed=False, wait=True)
        assert trio.current_time() == pytest.approx(3600)
        assert status.status is RunState.SUCCESS


# --- waiting for items ---


async def test_a_busy_run_does_not_keep_its_cancelled_items_from_being_told(autojump_clock: object) -> None:
    async def work(execution: Execution) -> bytes:
        await trio.sleep(0.3 + execution.item_index % 7 / 10)
        return b"1"

    async with memory_world(lambda _: work) as world:
        status = await world.submit(ONE, range(2000), max_concurrency=20)
        world.store.before = slowly
        await trio.sleep(2)
        result = await world.cancel(status.run_id, item_indexes=[1900])
        assert result.outcome is CancelOutcome.CANCELLED
        assert trio.current_time() < 10


# --- inputs ---


async def test_a_long_run_holds_a_window_of_its_inputs(autojump_clock: object) -> None:
    async with memory_world() as world:
        largest = 0

        async def measure(_: int) -> None:
            nonlocal largest
            run = next(iter(world.executor._runs.values()), None)
            if run is not None:
                largest = max(largest, len(run.state.inputs._values))

        world.store.after = measure
        status = await world.submit(ONE, [b"%d" % n for n in range(100_000)], max_concurrency=1000)
        with trio.fail_after(1000):
            status = await world.get(status.run_id, wait=True)
        assert status.items.success == 100_000
        assert SEGMENT_ITEMS <= largest <= MAX_BUFFERED + SEGMENT_ITEMS


@pytest.mark.parametrize("size", [1, 700, 1000])
async def test_inputs_that_come_in_pieces_are_all_executed(size: int, autojump_clock: object) -> None:
    async with memory_world() as world:
        opened = await world.submit(ONE, [], sealed=False, max_concurrency=3)
        world.store.before = slowly if size > 1 else None
        run = world.executor.active(RunId(opened.run_id))
        assert run is not None
        count = 300 if size == 1 else 9
        async with trio.open_nursery() as nursery:
            for number in range(count):
                inputs = [b"%d" % n for n in range(number * size, (number + 1) * size)]
                await world.append(opened.run_id, number * size, inputs, sealed=number == count - 1, nursery=nursery)
        with trio.fail_after(100_000):
            status = await world.finish(opened.run_id)
        assert status.items.success == count * size
        assert [msgspec.json.decode(call.input) for call in world.caller.calls] == list(range(count * size))


# --- everything at once ---


async def drive_at_random(world: World, seed: int) -> list[RunId]:
    """Runs of all kinds, answered, failed, appended to and cancelled, for a while."""
    chance = random.Random(seed)

    async def work(execution: Execution) -> bytes:
        await trio.sleep(chance.random() * 3)
        if chance.random() < 0.2:
            raise RpcError(ErrorCode.COMPONENT_FAILED, "no luck")
        return execution.input

    world.caller.behave = lambda _: work
    retried = flow(step("a", onError={"action": "retry"}), step("b", ref("a")))
    runs: list[RunId] = []
    for _ in range(12):
        status = await world.submit(
            chance.choice([ONE, CHAIN, retried]),
            range(chance.randrange(30)),
            max_concurrency=chance.randrange(1, 6),
            failure_policy=chance.choice([None, None, "failFast"]),
            run_timeout_ms=chance.choice([None, None, 8000]),
        )
        runs.append(RunId(status.run_id))
    async with trio.open_nursery() as nursery:
        for run_id in runs:
            if chance.random() < 0.3:
                await trio.sleep(chance.random())
                items = chance.choice([None, [0]])
                total = (await world.get(run_id)).items.total
                if items is None or total:
                    nursery.start_soon(partial(world.cancel, run_id, item_indexes=items))
        for run_id in runs:
            await world.finish(run_id)
    return runs


@pytest.mark.parametrize("seed", range(8))
async def test_the_projection_of_any_run_is_the_fold_of_its_journal(
    seed: int, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepflow_runtime.engine.active_run.SNAPSHOT_EVERY", 20)
    async with memory_world() as world:
        for run_id in await drive_at_random(world, seed):
            facts = await fold_all(world.store, run_id)
            record = await world.store.run(run_id)
            assert describe_facts(facts)["progress"] == msgspec.structs.asdict(record.progress)
            status = await world.finish(run_id)
            assert [index for index, _ in outcomes(status)] == list(range(status.items.total))


# --- stores that write in a thread, and stores that others have taken over ---


async def test_who_waits_for_items_need_not_hear_of_a_commit_after_the_executor(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with open_sqlite(tmp_path / "runs.db", synchronous="OFF") as store, open_world(store, hold) as world:
            opened = await world.submit(ONE, range(200), max_concurrency=100)
            async with trio.open_nursery() as nursery:
                for item in range(0, 200, 2):
                    nursery.start_soon(partial(world.cancel, opened.run_id, item_indexes=[item]))
            assert (await world.get(opened.run_id)).items.cancelled == 100


async def test_a_runtime_whose_lease_is_gone_stops(autojump_clock: object) -> None:
    async def fence(writes: Sequence[RunWrite]) -> list[CommitResult]:
        return [Fenced() for _ in writes]

    with pytest.RaisesGroup(Superseded, flatten_subgroups=True):
        async with memory_world() as world:
            await world.put_flow(ONE)
            world.store.commit = fence  # type: ignore[method-assign]
            await world.submit(ONE, [1])
