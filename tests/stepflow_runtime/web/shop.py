"""A component server for the console to look at: some of it fails, waits, or tells what it does."""

from __future__ import annotations

import sys

import trio

from component_sdk import ComponentServer, StepflowContext

server = ComponentServer()


@server.component
async def fetch(input: int, ctx: StepflowContext) -> dict[str, object]:
    return {"order": input, "lines": [{"sku": f"A-{input}", "count": input % 9 + 1}], "total": 12.50}


@server.component
def price(input: dict[str, object]) -> dict[str, object]:
    order = input["order"]
    if isinstance(order, int) and order % 37 == 5:
        raise ValueError(f"order {order} has no price list")
    return {**input, "priced": True}


@server.component
async def report(input: object, ctx: StepflowContext) -> str:
    print("report: writing", file=sys.stderr)
    log = ctx.stream("progress")
    for number in range(12):
        await log.write({"page": number + 1, "of": 12})
    await ctx.put_artifact("report.txt", "All is well.\n")
    return "done"


@server.component
async def hold(input: object) -> object:
    await trio.sleep(input if isinstance(input, int) else 0.05)
    return input


@server.component
async def nest(input: str, ctx: StepflowContext) -> object:
    status = await ctx.submit_run(flow_id=input, inputs=[1, 2, 3], wait=True)
    return status.items.success


if __name__ == "__main__":
    server.run()
