"""A component server for the tests of `Run`: what a run can be, one component each."""

from __future__ import annotations

from typing import Any

from component_sdk import ComponentServer, StepflowContext

server = ComponentServer()


@server.component
async def double(input: int, ctx: StepflowContext) -> dict[str, int]:
    await ctx.stream().write({"doubling": input})
    return {"doubled": input * 2}


@server.component
def fail(input: Any) -> None:
    raise ValueError(f"{input} is unlucky")


@server.component
async def find_nothing(input: Any, ctx: StepflowContext) -> None:
    ctx.no_action("nothing is new")


@server.component
async def ask(input: Any, ctx: StepflowContext) -> Any:
    return await ctx.suspend("may I?", schema={"type": "object", "required": ["yes"]})


@server.component
async def nap(input: Any, ctx: StepflowContext) -> bool:
    return await ctx.sleep(3600)


if __name__ == "__main__":
    server.run()
