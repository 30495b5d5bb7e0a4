"""Restarts and time travel: what goes again, what is re-used, and that the run it is of never changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
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
    ResultOrder,
    RunParams,
    RunState,
    RunStatus,
)
from stepflow_runtime.engine import past
from stepflow_runtime.engine.fork import Past
from stepflow_runtime.engine.lineage import Lineage
from stepflow_runtime.engine.plan import Plan
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import Answer, NoAction, Suspension
from stepflow_runtime.ports import Execution, Store
from stepflow_runtime.services import fork_checks
from stepflow_runtime.store.memory import open_memory
from stepflow_runtime.store.sqlite import open_sqlite
from tests.stepflow_runtime.engine.world import (
    BOOM,
    GONE,
    World,
    expect_code,
    flow,
    hold,
    memory_world,
    open_world,
    ref,
    settle_down,
    step,
)
from tests.stepflow_runtime.engine.world import values as read_values

CHAIN = flow(step("fetch"), step("parse", ref("fetch")), step("store", ref("parse")))
FORKED = {
    "steps": [
        step("left"),
        step("right"),
        step("join", {"l": ref("left"), "r": ref("right")}),
    ],
    "output": ref("join"),
}


def values(status: RunStatus) -> list[Any]:
    return read_values(status.results or [])


def outcomes(status: RunStatus) -> list[str]:
    return [str(entry.result.outcome) for entry in status.results or []]


@contextmanager
def refused(code: ErrorCode) -> Generator[None]:
    with pytest.raises(RpcError) as error:
        yield
    expect_code(error.value, code)


class Script:
    """A component that fails where a test says so, and counts what it is asked to do.

    Attributes:
        failing: Items by step.
        done: Steps with their items, in the order of their execution.
    """

    def __init__(self, **failing: set[int]) -> None:
        self.failing: dict[str, set[int]] = failing
        self.done: list[tuple[str, int]] = []

    def __call__(self, execution: Execution) -> Answer:
        self.done.append((execution.step_id, execution.item_index))
        if execution.item_index in self.failing.get(execution.step_id, ()):
            return BOOM
        return execution.input

    def mend(self) -> None:
        self.failing = {}
        self.done = []


def renew(execution: Execution) -> Answer:
    return b'"new"'


def take_none(execution: Execution) -> Answer:
    return NoAction()


async def snapshot(world: World, run_id: str) -> Any:
    """All that can be read of a run."""
    status = await world.get(run_id, include_results=True)
    by_completion = await world.get(run_id, include_results=True, result_order=ResultOrder.BY_COMPLETION)
    return msgspec.to_builtins((status, by_completion.results, await world.journal(run_id)), enc_hook=bytes)


async def executed_steps(world: World, run_id: str, item: int) -> dict[str, tuple[str, Any]]:
    found = await world.listing.steps(ListStepsParams(run_id, item), world.client)
    return {
        info.step_id: (str(info.status), None if info.result is None else bytes(info.result.value))
        for info in found.steps
        if info.result is None or str(info.result.outcome) == "success"
    }


# --- restart of an ended run ---


async def test_what_failed_goes_again_from_where_it_stopped_and_the_rest_is_kept() -> None:
    script = Script(parse={1, 3})
    async with memory_world(script) as world:
        run = await world.finish((await world.submit(CHAIN, range(5))).run_id)
        before = await snapshot(world, run.run_id)
        script.mend()
        fork = await world.finish((await world.restart(run.run_id)).run_id)
        assert fork.forked_from == run.run_id
        assert fork.status is RunState.SUCCESS
        assert values(fork) == [0, 1, 2, 3, 4]
        assert sorted(script.done) == [("parse", 1), ("parse", 3), ("store", 1), ("store", 3)]
        assert await snapshot(world, run.run_id) == before


async def test_a_fork_of_a_large_run_stores_only_what_is_new(tmp_path: Path) -> None:
    script = Script(parse={7, 2500, 4999})
    async with open_sqlite(tmp_path / "db", inline_only=True) as store, open_world(store, script) as world:
        run = await world.finish((await world.submit(CHAIN, range(5000))).run_id)
        script.mend()
        fork = await world.finish((await world.restart(run.run_id, only="failed")).run_id)
        assert values(fork) == list(range(5000))
        assert len(script.done) == 6
        assert sum(len(row.events) for row in await store.journal(RunId(fork.run_id), 1, 100)) < 5000
        assert await store.inputs(RunId(fork.run_id), 0) is None
        by_completion = await world.get(fork.run_id, include_results=True, result_order=ResultOrder.BY_COMPLETION)
        entries = by_completion.results or []
        assert sorted(entry.item_index for entry in entries) == list(range(5000))
        assert {entry.item_index for entry in entries[-3:]} == {7, 2500, 4999}


async def test_cancelled_items_go_again_unless_only_failed_ones_are_meant() -> None:
    script = Script(fetch={0})
    async with memory_world(script) as world:
        run = await world.finish(
            (await world.submit(CHAIN, range(4), max_concurrency=1, failure_policy="failFast")).run_id
        )
        assert run.items.cancelled == 3
        script.mend()
        only = await world.finish((await world.restart(run.run_id, only="failed")).run_id)
        assert (only.status, only.items.success, only.items.cancelled) == (RunState.FAILED, 1, 3)
        everything = await world.finish((await world.restart(run.run_id)).run_id)
        assert (everything.status, everything.items.success) == (RunState.SUCCESS, 4)


async def test_kept_items_that_a_request_cancelled_make_the_fork_cancelled() -> None:
    def behave(execution: Execution) -> Answer | None:
        return None if execution.item_index == 1 else BOOM if execution.item_index == 0 else execution.input

    async with memory_world(behave) as world:
        run = await world.submit(CHAIN, range(3))
        await settle_down()
        await world.cancel(run.run_id, grace_ms=0)
        world.caller.behave = Script()
        fork = await world.finish((await world.restart(run.run_id, only="failed")).run_id)
        assert (fork.status, outcomes(fork)) == (RunState.CANCELLED, ["success", "cancelled", "success"])


async def test_a_restart_of_what_succeeded_ends_at_once_with_the_same_results() -> None:
    script = Script()
    async with memory_world(script) as world:
        run = await world.finish((await world.submit(CHAIN, range(3))).run_id)
        script.mend()
        fork = await world.restart(run.run_id)
        assert fork.status is RunState.SUCCESS
        assert values(await world.finish(fork.run_id)) == [0, 1, 2]
        assert script.done == []


async def test_a_step_whose_failure_was_replaced_by_its_default_goes_again() -> None:
    defaulted = flow(
        step("a", onError={"action": "useDefault", "defaultValue": 9}), step("b"), step("c", [ref("a"), ref("b")])
    )
    script = Script(a={0}, c={0})
    async with memory_world(script) as world:
        run = await world.finish((await world.submit(defaulted, [5])).run_id)
        script.mend()
        fork = await world.finish((await world.restart(run.run_id)).run_id)
        assert values(fork) == [[5, 5]]
        assert sorted(script.done) == [("a", 0), ("c", 0)]


# --- time travel ---


async def test_time_travel_executes_the_step_and_what_depends_on_it() -> None:
    script = Script()
    async with memory_world(script) as world:
        run = await world.finish((await world.submit(FORKED, range(2))).run_id)
        before = await snapshot(world, run.run_id)
        script.mend()
        fork = await world.finish((await world.time_travel(run.run_id, "left")).run_id)
        assert values(fork) == values(run)
        assert sorted(script.done) == [("join", 0), ("join", 1), ("left", 0), ("left", 1)]
        assert await snapshot(world, run.run_id) == before
        assert set(await executed_steps(world, fork.run_id, 0)) == {"left", "right", "join"}


async def test_items_that_do_not_travel_keep_their_results_and_indexes() -> None:
    async with memory_world(Script()) as world:
        run = await world.finish((await world.submit(CHAIN, range(5))).run_id)
        world.caller.behave = renew
        fork = await world.finish((await world.time_travel(run.run_id, "store", item_indexes=[3, 1])).run_id)
        assert values(fork) == [0, "new", 2, "new", 4]
        by_completion = await world.get(fork.run_id, include_results=True, result_order=ResultOrder.BY_COMPLETION)
        assert [entry.item_index for entry in by_completion.results or []] == [0, 2, 4, 1, 3]
        items = await world.listing.items(ListItemsParams(fork.run_id), world.client)
        assert [bytes(item.input) for item in items.items] == [b"0", b"1", b"2", b"3", b"4"]
        assert {item.status for item in items.items} == {ItemState.SUCCESS}
        assert (await executed_steps(world, fork.run_id, 0)).keys() == {"fetch", "parse", "store"}


async def test_input_replaces_what_the_step_is_executed_with() -> None:
    script = Script(fetch={0})
    async with memory_world(script) as world:
        run = await world.finish((await world.submit(CHAIN, [1])).run_id)
        script.mend()
        fork = await world.finish((await world.time_travel(run.run_id, "parse", input={"$step": "data"})).run_id)
        assert values(fork) == [{"$step": "data"}]
        assert script.done == [("parse", 0), ("store", 0)]


async def test_context_gives_results_that_were_never_recorded() -> None:
    script = Script(fetch={0})
    async with memory_world(script) as world:
        run = await world.finish((await world.submit(CHAIN, [1, 2])).run_id)
        script.mend()
        fork = await world.finish((await world.time_travel(run.run_id, "parse", context={"fetch": "mine"})).run_id)
        assert values(fork) == ["mine", 2]  # item 1 has a result of its own
        assert sorted(script.done) == [("parse", 0), ("parse", 1), ("store", 0), ("store", 1)]
        assert (await executed_steps(world, fork.run_id, 0))["fetch"] == ("success", b'"mine"')


async def test_a_branch_that_an_item_did_not_take_is_not_executed_for_it() -> None:
    branching = {
        "steps": [step("odd"), step("even")],
        "output": {"$if": {"$input": "odd"}, "then": ref("odd"), "else": ref("even")},
    }
    script = Script()
    async with memory_world(script) as world:
        run = await world.finish((await world.submit(branching, [{"odd": True}, {"odd": False}])).run_id)
        script.mend()
        fork = await world.finish((await world.time_travel(run.run_id, "odd")).run_id)
        assert values(fork) == values(run)
        assert script.done == [("odd", 0)]


async def test_resume_data_answers_the_last_suspension_of_the_step() -> None:
    def ask(execution: Execution) -> Answer:
        said = execution.resumes
        return Suspension() if len(said) < 2 else b"[%b]" % b",".join(resume.data for resume in said)

    async with memory_world(ask) as world:
        run = await world.submit(flow(step("ask")), [1])
        await settle_down()
        for data in ("first", "second"):
            await world.resume(run.run_id, data, wait=True)
        assert values(await world.finish(run.run_id)) == [["first", "second"]]
        fork = await world.time_travel(run.run_id, "ask", resume_data="other", wait=True)
        assert values(await world.finish(fork.run_id)) == [["first", "other"]]
        anew = await world.time_travel(run.run_id, "ask", wait=True)
        assert anew.status is RunState.SUSPENDED


async def test_a_suspended_run_can_be_travelled_and_goes_on_itself() -> None:
    def ask(execution: Execution) -> Answer:
        if execution.step_id == "fetch":
            return execution.input
        return execution.resumes[-1].data if execution.resumes else Suspension(schema=b'{"type":"integer"}')

    async with memory_world(ask) as world:
        run = await world.submit(flow(step("fetch"), step("ask", ref("fetch"))), [1, 2])
        await settle_down()
        with refused(ErrorCode.VALIDATION_FAILED):
            await world.time_travel(run.run_id, "ask", resume_data="no")
        with refused(ErrorCode.CONFLICT):
            await world.time_travel(run.run_id, "ask", item_indexes=[0], resume_data=5)
        fork = await world.time_travel(run.run_id, "ask", resume_data=5, wait=True)
        assert values(await world.finish(fork.run_id)) == [5, 5]
        assert [execution.step_id for execution in world.caller.calls[-2:]] == ["ask", "ask"]
        await world.resume(run.run_id, 7, item_index=0)
        await world.resume(run.run_id, 8, item_index=1)
        assert values(await world.finish(run.run_id)) == [7, 8]
        again = await world.time_travel(run.run_id, "ask", resume_data=6, wait=True)
        assert values(await world.finish(again.run_id)) == [6, 6]


async def test_items_that_took_no_action_are_counted_in_a_fork() -> None:
    def idle(execution: Execution) -> Answer:
        return NoAction() if execution.item_index else b"1"

    async with memory_world(idle) as world:
        run = await world.finish((await world.submit(flow(step("a")), range(3))).run_id)
        fork = await world.finish((await world.time_travel(run.run_id, "a", item_indexes=[0, 1])).run_id)
        assert fork.status_detail is None
        world.caller.behave = take_none
        fork = await world.finish((await world.time_travel(fork.run_id, "a", item_indexes=[0])).run_id)
        assert fork.status_detail == "noActionTaken"


# --- forks of forks ---


async def test_a_fork_of_a_fork_reads_through_all_of_them() -> None:
    script = Script(parse={1, 2, 3})
    async with memory_world(script) as world:
        run = await world.finish((await world.submit(CHAIN, range(5))).run_id)
        script.failing = {"store": {2, 3}}
        first = await world.finish((await world.restart(run.run_id)).run_id)
        assert outcomes(first) == ["success", "success", "failed", "failed", "success"]
        script.failing = {"store": {3}}
        second = await world.finish((await world.restart(first.run_id)).run_id)
        script.mend()
        third = await world.finish((await world.time_travel(second.run_id, "store", item_indexes=[3])).run_id)
        assert values(third) == [0, 1, 2, 3, 4]
        assert script.done == [("store", 3)]
        by_completion = await world.get(third.run_id, include_results=True, result_order=ResultOrder.BY_COMPLETION)
        order = [entry.item_index for entry in by_completion.results or []]
        assert order == [0, 4, 1, 2, 3]
        for offset in range(5):
            page = await world.get(
                third.run_id,
                include_results=True,
                result_order=ResultOrder.BY_COMPLETION,
                result_offset=offset,
                result_limit=1,
            )
            assert [entry.item_index for entry in page.results or []] == [order[offset]]
        for item in range(5):
            assert (await executed_steps(world, third.run_id, item)).keys() == {"fetch", "parse", "store"}


# --- restart of a run that goes on ---


async def test_the_active_steps_of_a_run_go_again_as_the_next_attempt() -> None:
    script = Script()
    held: list[Execution] = []

    def behave(execution: Execution) -> Answer | None:
        if execution.step_id == "parse" and execution.attempt == 1:
            held.append(execution)
            return None
        return script(execution)

    async with memory_world(behave) as world:
        run = await world.submit(CHAIN, range(2))
        await settle_down()
        status = await world.restart(run.run_id)
        assert status.run_id == run.run_id
        assert status.forked_from is None
        assert values(await world.finish(run.run_id)) == [0, 1]
        assert [execution.attempt for execution in world.caller.calls if execution.step_id == "parse"] == [1, 1, 2, 2]
        assert not set(held) & set(world.caller.held)


async def test_a_step_that_waits_to_be_tried_again_goes_at_once() -> None:
    def fail(execution: Execution) -> Answer:
        return GONE if execution.attempt == 1 else execution.input

    async with memory_world(fail) as world:
        run = await world.submit(flow(step("a")), [1])
        await settle_down()
        await world.restart(run.run_id, item_indexes=[0])
        with trio.fail_after(0.005):
            assert values(await world.finish(run.run_id)) == [1]


# --- refusals ---


Attempt = Callable[[World, str], Any]
REFUSED: dict[str, tuple[ErrorCode, Attempt]] = {
    "an unknown run": (ErrorCode.RUN_NOT_FOUND, lambda world, run_id: world.restart("nobody")),
    "an unknown run to travel": (ErrorCode.RUN_NOT_FOUND, lambda world, run_id: world.time_travel("nobody", "parse")),
    "an unknown step": (ErrorCode.INVALID_PARAMS, lambda world, run_id: world.time_travel(run_id, "no")),
    "an unknown item": (ErrorCode.INVALID_PARAMS, lambda world, run_id: world.restart(run_id, item_indexes=[2])),
    "no items": (ErrorCode.INVALID_PARAMS, lambda world, run_id: world.time_travel(run_id, "parse", item_indexes=[])),
    "a missing predecessor": (ErrorCode.CONFLICT, lambda world, run_id: world.time_travel(run_id, "store")),
    "a failed predecessor": (ErrorCode.CONFLICT, lambda world, run_id: world.time_travel(run_id, "parse")),
    "an unknown step in context": (
        ErrorCode.INVALID_PARAMS,
        lambda world, run_id: world.time_travel(run_id, "fetch", context={"no": 1}),
    ),
    "a context for what goes again": (
        ErrorCode.INVALID_PARAMS,
        lambda world, run_id: world.time_travel(run_id, "fetch", context={"store": 1}),
    ),
    "resume data for what never waited": (
        ErrorCode.NOT_SUSPENDED,
        lambda world, run_id: world.time_travel(run_id, "fetch", resume_data=1),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_be_is_refused_and_changes_nothing(case: str) -> None:
    code, attempt = REFUSED[case]
    async with memory_world(Script(fetch={0})) as world:
        run = await world.finish((await world.submit(CHAIN, range(2))).run_id)
        before, writes = await snapshot(world, run.run_id), world.store.writes
        with refused(code):
            await attempt(world, run.run_id)
        assert await snapshot(world, run.run_id) == before
        assert world.store.writes == writes


async def test_items_that_succeeded_are_not_read_again_before_a_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    async def read_pasts(store: Store, plan: Plan, lineage: Lineage, indexes: Collection[int]) -> dict[int, Past]:
        read.extend(indexes)
        return await past.read_pasts(store, plan, lineage, indexes)

    monkeypatch.setattr(fork_checks, "read_pasts", read_pasts)
    async with memory_world(Script(store={7})) as world:
        run = await world.finish((await world.submit(CHAIN, range(20))).run_id)
        await world.time_travel(run.run_id, "store")
        assert read == [7]


async def test_others_have_their_turn_while_a_long_travel_is_checked() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with memory_world(Script(store=set(range(3000)))) as world, trio.open_nursery() as nursery:
        run = await world.finish((await world.submit(CHAIN, range(3000))).run_id)
        nursery.start_soon(count_turns)
        await world.time_travel(run.run_id, "store")
        assert turns > 3000 / 64
        nursery.cancel_scope.cancel()


async def test_a_run_that_still_runs_is_not_travelled() -> None:
    async with memory_world(hold) as world:
        run = await world.submit(CHAIN, [1])
        await settle_down()
        with refused(ErrorCode.CONFLICT):
            await world.time_travel(run.run_id, "fetch")
        with refused(ErrorCode.CONFLICT):
            await world.restart(run.run_id, only="failed")


async def test_a_missing_predecessor_is_named_with_its_item() -> None:
    async with memory_world(Script(fetch={1})) as world:
        run = await world.finish((await world.submit(CHAIN, range(2))).run_id)
        with pytest.raises(RpcError) as error:
            await world.time_travel(run.run_id, "parse")
        data = error.value.data
        assert (data["itemIndex"], data["missing"]) == (1, ["fetch"])


async def test_a_run_is_deleted_after_its_forks() -> None:
    async with memory_world(Script()) as world:
        run = await world.finish((await world.submit(CHAIN, range(2))).run_id)
        fork = await world.finish((await world.restart(run.run_id)).run_id)
        with refused(ErrorCode.CONFLICT):
            await world.runs.delete(RunParams(run.run_id), world.client)
        assert values(await world.finish(fork.run_id)) == [0, 1]
        await world.runs.delete(RunParams(fork.run_id), world.client)
        await world.runs.delete(RunParams(run.run_id), world.client)


async def test_a_fork_tells_where_it_comes_from() -> None:
    async with memory_world(Script(fetch={1})) as world:
        run = await world.finish((await world.submit(CHAIN, range(3))).run_id)
        fork = await world.finish((await world.restart(run.run_id)).run_id)
        told = await world.events.events(EventsParams(fork.run_id, types=["run.forked"]), world.client)
        assert [event.data for event in told.events] == [{"forkedFrom": run.run_id, "items": 1}]


async def test_items_that_a_fork_keeps_cannot_be_cancelled() -> None:
    async with memory_world(Script(fetch={1, 3})) as world:
        run = await world.finish((await world.submit(CHAIN, range(5))).run_id)
        world.caller.behave = hold
        fork = await world.restart(run.run_id)
        await settle_down()
        cancelled = await world.cancel(fork.run_id, item_indexes=[2, 3], grace_ms=0)
        assert str(cancelled.outcome) == "cancelled"
        await world.cancel(fork.run_id, grace_ms=0)
        assert outcomes(await world.finish(fork.run_id)) == ["success", "cancelled", "success", "cancelled", "success"]


# --- another runtime ---


@pytest.mark.parametrize("executed_before", [False, True])
async def test_a_fork_goes_on_in_the_next_runtime(executed_before: bool) -> None:
    def behave(execution: Execution) -> Answer | None:
        if execution.run_id == first_run and execution.item_index == 1 and execution.step_id == "parse":
            return BOOM
        if execution.run_id != first_run and not executed_before:
            return None
        return None if execution.step_id == "store" and execution.run_id != first_run else execution.input

    async with open_memory() as store:
        first_run = ""
        async with open_world(store, hold) as world:
            first_run = (await world.submit(CHAIN, range(3))).run_id
            world.caller.behave = behave
            await settle_down()
            for execution in list(world.caller.held):
                world.caller.answer(execution, outcome=execution.input)
            run = await world.finish(first_run)
            assert outcomes(run) == ["success", "failed", "success"]
            fork = await world.restart(first_run)
            await settle_down()
        script = Script()
        async with open_world(store, script, boot=2) as world:
            assert values(await world.finish(fork.run_id)) == [0, 1, 2]
            assert script.done == [("store", 1)] if executed_before else [("parse", 1), ("store", 1)]


async def test_a_suspended_fork_is_resumed_in_the_next_runtime() -> None:
    def ask(execution: Execution) -> Answer:
        if execution.step_id == "fetch":
            return execution.input
        return Suspension() if len(execution.resumes) < 2 else b",".join(r.data for r in execution.resumes)[:1]

    chain = flow(step("fetch"), step("ask", ref("fetch")))
    async with open_memory() as store:
        async with open_world(store, ask) as world:
            run = await world.submit(chain, [1])
            await settle_down()
            fork = await world.time_travel(run.run_id, "ask", resume_data=3, wait=True)
            assert fork.status is RunState.SUSPENDED
        async with open_world(store, ask, boot=2) as world:
            await world.resume(fork.run_id, 4, wait=True)
            assert values(await world.finish(fork.run_id)) == [3]
            assert [execution.step_id for execution in world.caller.calls] == ["ask"]
