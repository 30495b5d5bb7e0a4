"""Jobs: runs in order, a failure stops the rest, frozen when they are submitted, durable, cancelled as a whole."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
from msgspec import Raw

from protocol.automation import (
    CancelJobParams,
    GetJobParams,
    JobStatus,
    ListJobsParams,
    RunTemplate,
    SubmitJobParams,
)
from protocol.errors import ErrorCode, RpcError
from protocol.runs import ListRunsParams, RunState
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.ports import Execution, Kind, StoreUnavailable
from stepflow_runtime.services.submission import SubmitLimits
from stepflow_runtime.store.memory import open_memory
from tests.stepflow_runtime.engine.world import (
    BOOM,
    ONE,
    World,
    expect_code,
    flow,
    hold,
    memory_world,
    open_world,
    settle_down,
    step,
    values,
)

BAD = flow(step("bad"))


def behave(execution: Execution) -> Any:
    return BOOM if execution.step_id == "bad" else execution.input


async def template(world: World, definition: dict[str, Any], *inputs: Any, **fields: Any) -> RunTemplate:
    raw = [Raw(msgspec.json.encode(value)) for value in inputs]
    return RunTemplate(flow_id=await world.put_flow(definition), inputs=raw, **fields)


async def submit(world: World, *templates: RunTemplate, **params: Any) -> JobStatus:
    with trio.fail_after(1000):
        return await world.jobs.submit(SubmitJobParams(runs=list(templates), **params), world.client)


async def get(world: World, job: JobStatus, *, wait: bool = True) -> JobStatus:
    with trio.fail_after(1000):
        return await world.jobs.get(GetJobParams(job.job_run_id, wait), world.client)


def states(job: JobStatus) -> list[str]:
    return [run.status.value for run in job.runs]


async def test_the_runs_of_a_job_go_in_order(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        first, second = await template(world, ONE, 1, flow_label="one"), await template(world, ONE, 2)
        job = await submit(world, first, second, name="nightly")
        assert (job.name, job.status, states(job)) == ("nightly", RunState.PENDING, ["pending", "pending"])
        await settle_down()
        assert [call.input for call in world.caller.held] == [b"1"], "the second waits for the first"
        world.caller.answer(*world.caller.held, outcome=b'"a"')
        await settle_down()
        job = await get(world, job, wait=False)
        assert (job.status, states(job)) == (RunState.RUNNING, ["success", "running"])
        world.caller.answer(*world.caller.held, outcome=b'"b"')
        job = await get(world, job)
        assert (job.status, states(job)) == (RunState.SUCCESS, ["success", "success"])
        assert job.completed_at is not None
        assert [run.items.success for run in job.runs if run.items] == [1, 1]
        statuses = [await world.finish(run.run_id or "") for run in job.runs]
        assert [values(status.results or []) for status in statuses] == [["a"], ["b"]]
        assert {status.job_run_id for status in statuses} == {job.job_run_id}
        assert [status.flow_label for status in statuses] == ["one", None]


async def test_a_failure_stops_the_rest(autojump_clock: object) -> None:
    async with memory_world(behave) as world:
        templates = [await template(world, definition, 1) for definition in (ONE, BAD, ONE)]
        job = await submit(world, *templates, wait=True)
        assert (job.status, states(job)) == (RunState.FAILED, ["success", "failed", "cancelled"])
        assert job.runs[2].run_id is None
        assert len(world.caller.calls) == 2


async def test_runs_are_listed_by_their_job(autojump_clock: object) -> None:
    async with memory_world() as world:
        job = await submit(world, await template(world, ONE, 1), await template(world, ONE, 2), wait=True)
        await world.submit(ONE, [3], wait=True)
        listed = await world.listing.runs(ListRunsParams(job_run_id=job.job_run_id), world.client)
        assert [run.run_id for run in listed.runs] == [job.runs[1].run_id, job.runs[0].run_id]


async def test_a_job_is_frozen_when_it_is_submitted(autojump_clock: object) -> None:
    declared = {"type": "object", "properties": {"v": {"type": "integer", "default": 7}, "w": {"type": "integer"}}}
    definition = flow(
        step("a", {"v": {"$variable": "v"}, "w": {"$variable": "w"}, "x": {"$input": "$"}}),
        schemas={"type": "object", "properties": {"variables": declared}},
    )
    async with memory_world() as world:
        overrides = {"steps": {"a": {"value": {"input": {"x": 5}}}}}
        given = await template(world, definition, 1, variables={"w": Raw(b"2")}, overrides=overrides)
        job = await submit(world, await template(world, ONE, 1), given)
        given.variables, given.overrides = {"w": Raw(b"3")}, None
        job = await get(world, job)
        status = await world.finish(job.runs[1].run_id or "")
        assert values(status.results or []) == [{"v": 7, "w": 2, "x": 5}]


async def test_a_job_of_which_one_run_is_refused_does_nothing() -> None:
    async with memory_world() as world:
        missing = RunTemplate(flow_id="blake3:" + "0" * 64, inputs=[])
        with pytest.raises(RpcError) as caught:
            await submit(world, await template(world, ONE, 1), missing)
        error = expect_code(caught.value, ErrorCode.NOT_FOUND)
        assert "run 1 of the job" in error.message
        assert error.data["runIndex"] == 1
        await settle_down()
        assert not world.caller.calls
        assert not (await world.jobs.list(ListJobsParams(), world.client)).jobs


async def test_a_job_of_too_many_runs_is_refused() -> None:
    async with memory_world(limits=SubmitLimits(max_job_runs=2)) as world:
        with pytest.raises(RpcError) as caught:
            await submit(world, *[await template(world, ONE, 1)] * 3)
        assert expect_code(caught.value, ErrorCode.LIMIT_EXCEEDED).data["limit"] == "maxJobRuns"


async def test_the_same_idempotency_key_gives_the_first_job(autojump_clock: object) -> None:
    async with memory_world() as world:
        one, two = await template(world, ONE, 1), await template(world, ONE, 2)
        jobs: list[JobStatus] = []

        async def again() -> None:
            jobs.append(await submit(world, one, two, idempotency_key="k", wait=True))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(again)
        assert len({job.job_run_id for job in jobs}) == 1
        assert [job.deduplicated for job in jobs].count(None) == 1
        assert len(world.caller.calls) == 2
        with pytest.raises(RpcError) as caught:
            await submit(world, two, one, idempotency_key="k")
        expect_code(caught.value, ErrorCode.CONFLICT)


async def test_a_cancelled_job_ends_with_the_run_that_it_is_at(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        job = await submit(world, await template(world, ONE, 1), await template(world, ONE, 2))
        await settle_down()
        with trio.fail_after(100):
            job = await world.jobs.cancel(CancelJobParams(job.job_run_id, "enough", 0), world.client)
        assert (job.status, states(job), job.cancel_reason) == (
            RunState.CANCELLED,
            ["cancelled", "cancelled"],
            "enough",
        )
        assert (await world.finish(job.runs[0].run_id or "")).cancel_reason == "enough"
        again = await world.jobs.cancel(CancelJobParams(job.job_run_id, "other"), world.client)
        assert again == job, "a job that has ended does not change"
        assert len(world.caller.calls) == 1


async def test_a_run_that_somebody_cancels_stops_its_job(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        job = await submit(world, await template(world, ONE, 1), await template(world, ONE, 2))
        await settle_down()
        run = (await get(world, job, wait=False)).runs[0].run_id
        await world.cancel(run or "", grace_ms=0)
        assert (await get(world, job)).status is RunState.CANCELLED


@pytest.mark.parametrize("cancelled", [False, True])
async def test_another_runtime_goes_on_with_a_job(autojump_clock: object, cancelled: bool) -> None:
    async with open_memory() as store:
        async with open_world(store, hold) as world:
            job = await submit(world, *[await template(world, ONE, number) for number in (1, 2, 3)])
            await settle_down()
            world.caller.answer(*world.caller.held)
            await settle_down()
            assert len(world.caller.calls) == 2
            if cancelled:
                async with trio.open_nursery() as nursery:
                    params = CancelJobParams(job.job_run_id, grace_ms=100_000)
                    world.caller.heeds_interrupt = False
                    nursery.start_soon(world.jobs.cancel, params, world.client)
                    await settle_down()
                    nursery.cancel_scope.cancel()
        async with open_world(store, boot=2) as world:
            job = await get(world, job)
            assert states(job) == (["success", "cancelled", "cancelled"] if cancelled else ["success"] * 3)
            assert [call.input for call in world.caller.calls] == ([] if cancelled else [b"2", b"3"])


async def test_what_a_job_needs_no_more_is_removed(autojump_clock: object) -> None:
    async with memory_world(behave) as world:
        templates = [await template(world, definition, 1) for definition in (ONE, BAD, ONE)]
        await submit(world, *templates, wait=True)
        assert await world.store.registry.entries(Kind.JOB_RUN, None, 10) == []


async def test_while_the_disk_is_full_a_job_waits(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        job = await submit(world, await template(world, ONE, 1), await template(world, ONE, 2))
        await settle_down()
        until = trio.current_time() + 60

        async def refuse(number: int) -> None:
            if trio.current_time() < until:
                raise StoreUnavailable("full")

        world.store.before = refuse
        with pytest.raises(RpcError) as caught:
            await submit(world, await template(world, ONE, 1))
        assert expect_code(caught.value, ErrorCode.INTERNAL_ERROR).data["reason"] == "storeUnavailable"
        world.caller.answer(*world.caller.held)
        world.caller.behave = behave
        job = await get(world, job)
        assert states(job) == ["success", "success"]
        assert trio.current_time() >= until


async def test_a_runtime_that_drains_begins_no_run(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        job = await submit(world, await template(world, ONE, 1), await template(world, ONE, 2))
        await settle_down()
        world.executor.hold()
        world.caller.answer(*world.caller.held)
        await trio.sleep(10)
        job = await get(world, job, wait=False)
        assert (job.status, job.runs[1].run_id) == (RunState.RUNNING, None)
        with pytest.raises(RpcError) as caught:
            await submit(world, await template(world, ONE, 1))
        expect_code(caught.value, ErrorCode.THROTTLED)


async def test_jobs_are_listed_newest_first_in_pages(autojump_clock: object) -> None:
    async with memory_world() as world:
        ids = [(await submit(world, await template(world, ONE, 1), wait=True)).job_run_id for _ in range(3)]
        page = await world.jobs.list(ListJobsParams(limit=2), world.client)
        assert [job.job_run_id for job in page.jobs] == [ids[2], ids[1]]
        page = await world.jobs.list(ListJobsParams(cursor=page.next_cursor), world.client)
        assert ([job.job_run_id for job in page.jobs], page.next_cursor) == ([ids[0]], None)


async def test_a_component_server_sees_only_jobs_of_its_plugin(autojump_clock: object) -> None:
    async with memory_world() as world:
        ours, theirs = Connection("a", "server", "a"), Connection("b", "server", "b")
        params = SubmitJobParams(runs=[await template(world, ONE, 1)])
        job = await world.jobs.submit(params, ours)
        assert (await world.jobs.get(GetJobParams(job.job_run_id, True), ours)).created_by == "a"
        assert not (await world.jobs.list(ListJobsParams(), theirs)).jobs
        refused: list[RpcError] = []
        for job_id in (job.job_run_id, "none"):
            with pytest.raises(RpcError) as caught:
                await world.jobs.get(GetJobParams(job_id), theirs)
            refused.append(caught.value)
            with pytest.raises(RpcError) as caught:
                await world.jobs.cancel(CancelJobParams(job_id), theirs)
            refused.append(caught.value)
        assert {expect_code(error, ErrorCode.NOT_FOUND).data["kind"] for error in refused} == {"job"}
