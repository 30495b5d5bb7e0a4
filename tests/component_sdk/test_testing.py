"""The testing kit: components without a process and without a wire."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from component_sdk import BlockingContext, RpcError, RunError, RunFailedError, StepflowContext, Unfit
from component_sdk.run import Run
from component_sdk.testing import FakeRuntime, execute_component, run_component
from protocol.errors import ErrorCode
from protocol.forking import RestartParams, TimeTravelParams
from protocol.types import NoAction, Observability


class Item(msgspec.Struct):
    item: int


class Doubled(msgspec.Struct):
    doubled: int


async def double(input: Item) -> Doubled:
    return Doubled(input.item * 2)


def half(input: Item, ctx: BlockingContext) -> float:
    return input.item / 2 if ctx.attempt == 1 else 0


async def under_asyncio(input: Item, ctx: StepflowContext) -> str | None:
    await asyncio.sleep(0)
    return ctx.run_id


async def fan_out(input: list[int], ctx: StepflowContext) -> dict[str, int]:
    flow_id = await ctx.put_blob({"name": "sub"})
    status = await ctx.submit_run(flow_id=flow_id, inputs=input, wait=True)
    return {"ok": status.items.success, "bad": status.items.failed}


def test_components_are_run_as_on_the_wire() -> None:
    assert run_component(double, {"item": 2}) == {"doubled": 4}
    assert run_component(double, Item(2)) == {"doubled": 4}
    assert run_component(half, {"item": 3}) == 1.5
    assert run_component(under_asyncio, {"item": 1}, backend="asyncio", run_id="r-7") == "r-7"
    with pytest.raises(Unfit):
        run_component(double, {"item": "x"})


async def test_components_are_executed_under_trio() -> None:
    assert await execute_component(double, {"item": 2}) == {"doubled": 4}


def test_sub_runs_are_computed_by_functions() -> None:
    def invert(value: int) -> float:
        return 1 / value

    runtime = FakeRuntime(flows={"sub": invert})
    assert run_component(fan_out, [1, 0, 2], runtime=runtime) == {"ok": 2, "bad": 1}
    assert len(runtime.submissions) == 1
    assert [entry.result.outcome for entry in runtime.runs["run-0"].results or []] == ["success", "failed", "success"]

    async def run_item(flow: Any, value: Any) -> Any:
        return flow["name"]

    assert run_component(fan_out, [1], runtime=FakeRuntime(run_item)) == {"ok": 1, "bad": 0}


def test_a_flow_that_nobody_computes_fails_with_advice() -> None:
    runtime = FakeRuntime()
    assert run_component(fan_out, [1], runtime=runtime) == {"ok": 0, "bad": 1}
    results = runtime.runs["run-0"].results
    assert results is not None
    assert results[0].result.error is not None
    assert "give it run_item= or flows=" in results[0].result.error.message


def test_no_action_and_errors_come_back() -> None:
    async def nothing(ctx: StepflowContext) -> None:
        ctx.no_action("quiet")

    async def reads(ctx: StepflowContext) -> Any:
        return await ctx.get_blob("nope")

    assert run_component(nothing) == NoAction("quiet")
    with pytest.raises(RpcError, match="no blob nope"):
        run_component(reads)


async def test_handles_work_on_the_fake_runtime() -> None:
    async def component(ctx: StepflowContext) -> Any:
        run = await ctx.start({"name": "sub"}, inputs=[1, 2])
        indexes = [entry.item_index async for entry in run.results(order="byCompletion")]
        return [indexes, await run.return_value()]

    assert await execute_component(component, runtime=FakeRuntime(lambda flow, value: value * 3)) == [[0, 1], [3, 6]]


async def collect(items: AsyncIterable[Any]) -> list[Any]:
    return [item async for item in items]


async def control_all(ctx: StepflowContext) -> Any:
    """All that a component may do to a sub-run, by the method of its handle; what is refused by its code."""
    run = await ctx.start({"name": "sub", "steps": [{"id": "invert"}]}, inputs=[4, 0, 2])
    again = await run.restart(only="failed", request_id="again")
    controls: dict[str, Callable[[], Awaitable[Any]]] = {
        "refresh": run.refresh,
        "wait": run.wait,
        "return_value": run.return_value,
        "results": lambda: collect(run.results()),
        "events": lambda: collect(run.events(["run.completed"])),
        "stream": lambda: collect(run.stream()),
        "artifacts": run.artifacts,
        "item_states": run.item_states,
        "writer": lambda: run.writer().write("a chunk"),
        "cancel": run.cancel,
        "resume": run.resume,
        "wake_up": run.wake_up,
        "pause": run.pause,
        "unpause": run.unpause,
        "restart": run.restart,
        "time_travel": lambda: run.time_travel("invert", item_indexes=[0, 1]),
    }
    told: dict[str, Any] = {}
    for name, control in controls.items():
        try:
            answer = await control()
        except (RpcError, RunError) as error:
            told[name] = getattr(error, "code", None) or type(error)
        else:
            told[name] = answer.id if isinstance(answer, Run) else answer
    assert (await run.restart(only="failed", request_id="again")).id == again.id
    with pytest.raises(RpcError, match="has no step 'other'"):
        await run.time_travel("other")
    with pytest.raises(RpcError, match="must name items of the run, 0 to 2"):
        await run.restart(item_indexes=[3])
    return told


async def test_all_that_a_handle_can_do_can_be_done_to_a_fake_run() -> None:
    fortunate = False

    def invert(value: int) -> float:
        return 0 if fortunate and not value else 1 / value

    runtime = FakeRuntime(flows={"sub": invert})
    caller = StepflowContext(runtime, Observability(run_id="r-1"))
    told = await control_all(caller)
    methods = {name for name, _ in inspect.getmembers(Run, inspect.isfunction) if not name.startswith("_")}
    assert told.keys() == methods
    assert told["return_value"] is RunFailedError
    assert [entry.item_index for entry in told["results"]] == [0, 1, 2]
    assert [event.data for event in told["events"]] == [{"status": "failed"}]
    assert told["item_states"] == ["success", "failed", "success"]
    assert (told["stream"], told["artifacts"], told["writer"], told["wake_up"]) == ([], [], 1, 0)
    assert told["cancel"].outcome == "notCancellable"
    assert (told["resume"], told["pause"], told["unpause"]) == (
        ErrorCode.NOT_SUSPENDED,
        ErrorCode.CONFLICT,
        ErrorCode.CONFLICT,
    )
    assert [type(params) for params in runtime.controls[-3:]] == [RestartParams, TimeTravelParams, RestartParams]
    fork = runtime.runs[told["time_travel"]]
    assert (fork.forked_from, fork.items.failed, fork.items.success) == (told["refresh"].run_id, 1, 2)
    fortunate = True
    mended = await caller.start({"name": "sub"}, inputs=[0])
    assert await mended.return_value() == 0
    assert await (await Run(runtime, told["refresh"].run_id).restart()).return_value() == [0.25, 0, 0.5]
