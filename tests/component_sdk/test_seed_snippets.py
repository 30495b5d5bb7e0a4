"""The components of the published document on runs, as they stand there."""

# mypy: disable-error-code="arg-type,index"
# Type checkers want to be told that there are results; the published text is not changed for them.

from __future__ import annotations

from typing import Any

import pydantic
import pytest
import trio

from component_sdk import ComponentServer, StepflowContext
from component_sdk.testing import FakeRuntime, run_component

server = ComponentServer()
sub_workflow_definition = {"name": "sub", "steps": [], "output": {"$input": "item"}}


class Input(pydantic.BaseModel):
    items: list[Any] = []
    workflow_id: str = ""
    batch_items: list[Any] = []
    data: Any = None


class Output(pydantic.BaseModel):
    results: list[Any] = []
    processed: int = 0
    failed: int = 0
    result: Any = None


async def do_other_work() -> None:
    await trio.lowlevel.checkpoint()


# fmt: off
@server.component
async def orchestrator(input: Input, ctx: StepflowContext) -> Output:
    # Store the sub-workflow as a blob
    flow_id = await ctx.put_blob(sub_workflow_definition)
    # Submit the sub-workflow
    run_status = await ctx.submit_run(
        flow_id=flow_id,
        inputs=[{"item": item} for item in input.items],
        wait=True,
        max_concurrency=5
    )
    return Output(results=run_status.results)


@server.component
async def batch_processor(input: Input, ctx: StepflowContext) -> Output:
    # Submit batch for processing
    run_status = await ctx.submit_run(
        flow_id=input.workflow_id,
        inputs=input.batch_items,
        wait=True,
        max_concurrency=10
    )
    # Check for failures
    if run_status.items.failed > 0:
        # Handle partial failures
        pass
    return Output(
        processed=run_status.items.success,
        failed=run_status.items.failed
    )


@server.component
async def async_processor(input: Input, ctx: StepflowContext) -> Output:
    # Submit without waiting
    run_status = await ctx.submit_run(
        flow_id=input.workflow_id,
        inputs=[input.data],
        wait=False
    )
    # Do other work while workflow runs...
    await do_other_work()
    # Poll for completion
    final_status = await ctx.get_run(
        run_id=run_status.run_id,
        wait=True,
        include_results=True
    )
    return Output(result=final_status.results[0])
# fmt: on


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime(lambda flow, value: {"doubled": value["item"] * 2})


def make_entry(index: int, doubled: int) -> dict[str, Any]:
    at = "2025-01-15T10:30:00.000Z"
    return {
        "itemIndex": index,
        "result": {"outcome": "success", "value": {"doubled": doubled}},
        "completedAt": at,
    }


def test_the_orchestrator_gives_the_results_as_the_wire_has_them(runtime: FakeRuntime) -> None:
    output = run_component(orchestrator, {"items": [1, 2]}, runtime=runtime)
    assert output["results"] == [make_entry(0, 2), make_entry(1, 4)]


def test_the_batch_processor_counts(runtime: FakeRuntime) -> None:
    flow_id = runtime.put_blob(sub_workflow_definition)
    input = {"workflow_id": flow_id, "batch_items": [{"item": 1}, {}, {"item": 3}]}
    output = run_component(batch_processor, input, runtime=runtime)
    assert (output["processed"], output["failed"]) == (2, 1)


def test_the_async_processor_gets_its_result_later(runtime: FakeRuntime) -> None:
    flow_id = runtime.put_blob(sub_workflow_definition)
    output = run_component(async_processor, {"workflow_id": flow_id, "data": {"item": 21}}, runtime=runtime)
    assert output["result"] == make_entry(0, 42)
