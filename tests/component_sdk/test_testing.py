"""The testing kit: components without a process and without a wire."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from component_sdk import BlockingContext, RpcError, StepflowContext, Unfit
from component_sdk.testing import FakeRuntime, execute_component, run_component
from protocol.types import NoAction


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
