"""A component server as people wrote them with stepflow-py 0.7, for the published runtime.

`stepflow_py` is the real one, or the imitation beside this file.
"""
# mypy: ignore-errors

import asyncio

from stepflow_py import StepflowContext, StepflowServer
from stepflow_py.exceptions import StepflowFailed
from stepflow_py.generated_protocol import BlobType

server = StepflowServer()


@server.component
def double(input: dict) -> dict:
    """Doubles a number."""
    return {"n": input["n"] * 2}


@server.component
def fail(input: dict) -> dict:
    raise ValueError("unlucky")


@server.component
async def keep(input: dict, context: StepflowContext) -> dict:
    blob_id = await context.put_blob(input)
    return {"blob_id": blob_id, "data": await context.get_blob(blob_id)}


@server.component
async def find(input: dict, context: StepflowContext) -> dict:
    return {"data": await context.get_blob(input["blob_id"])}


@server.component
async def evaluate(input: dict, context: StepflowContext) -> dict:
    flow_id = await context.put_blob(input["flow"], BlobType.flow)
    try:
        return {"result": await context.evaluate_flow_by_id(flow_id, input["input"])}
    except StepflowFailed as error:
        return {"code": error.error_code, "message": error.message}


@server.component
async def nest(input: dict, context: StepflowContext) -> dict:
    if input["depth"] == 0:
        return {"reached": 0}
    inner = await context.evaluate_flow_by_id(context.flow_id, {"depth": input["depth"] - 1})
    return {"reached": inner["reached"] + 1}


@server.component
async def fan_out(input: dict, context: StepflowContext) -> dict:
    flow_id = await context.put_blob(input["flow"], BlobType.flow)
    return {"results": await context.evaluate_batch_by_id(flow_id, input["inputs"], max_concurrency=2)}


@server.component
async def poll(input: dict, context: StepflowContext) -> dict:
    flow_id = await context.put_blob(input["flow"], BlobType.flow)
    batch_id = await context.submit_batch_by_id(flow_id, input["inputs"])
    while True:
        details, outputs = await context.get_batch(batch_id)
        details = (
            details
            if isinstance(details, dict)
            else {name: getattr(details, name) for name in details.__struct_fields__}
        )
        assert outputs is None
        if details["completed_runs"] + details["failed_runs"] == details["total_runs"]:
            return details
        await asyncio.sleep(0.01)


@server.component
async def metadata(input: dict, context: StepflowContext) -> dict:
    return await context.get_metadata(input.get("step_id"))


@server.component
async def tell(input: dict, context: StepflowContext) -> dict:
    return {name: getattr(context, name) for name in ("run_id", "flow_id", "step_id", "attempt")}


@server.component
async def submit(input: dict, context: StepflowContext) -> dict:
    flow_id = await context.put_blob(input["flow"], BlobType.flow)
    return await context.submit_run(flow_id, input["inputs"], wait=True)


@server.component
async def nap(input: dict, context: StepflowContext) -> dict:
    await asyncio.sleep(input["s"])
    return {}


@server.component
def grow(input: dict) -> dict:
    return {"text": "x" * input["length"]}


@server.component
def chat(input: dict) -> dict:
    print("a line that is no message", flush=True)
    return {}


if __name__ == "__main__":
    server.start_stdio()
