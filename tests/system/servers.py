"""Component servers of these tests, as their authors would write them, and configurations that start them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

SEED: Final = '''
"""The snippets of the published page on runs, unmodified: orchestrator, batch_processor, async_processor."""

from __future__ import annotations

from typing import Any

import msgspec

from component_sdk import ComponentServer, StepflowContext

server = ComponentServer()


class Item(msgspec.Struct):
    item: int


@server.component
async def double(input: Item) -> dict:
    if input.item == 13:
        raise ValueError("unlucky")
    return {"doubled": input.item * 2}


class Input(msgspec.Struct):
    items: list[int] = []
    workflow_id: str = ""
    batch_items: list[dict] = []
    data: dict | None = None


class Output(msgspec.Struct, omit_defaults=True):
    results: list = []
    processed: int = -1
    failed: int = -1
    result: Any = None


sub_workflow_definition = {
    "name": "sub",
    "steps": [{"id": "d", "component": "/python/double", "input": {"item": {"$input": "item"}}}],
    "output": {"$step": "d"},
}


async def do_other_work():
    pass


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


if __name__ == "__main__":
    server.run()
'''

NESTING: Final = '''
from component_sdk import ComponentServer, StepflowContext

server = ComponentServer()
FLOW = {"steps": [{"id": "n", "component": "/python/nest", "input": {"$input": "$"}}], "output": {"$step": "n"}}


@server.component
async def nest(input: dict, ctx: StepflowContext) -> int:
    """How many levels of runs there are, from this one down."""
    if input["levels"] == 1:
        return 1
    below = {"levels": input["levels"] - 1}
    status = await ctx.submit_run(flow=FLOW, inputs=[below] * 2, wait=True, max_concurrency=1)
    for entry in status.results:
        if entry.result.outcome != "success":
            raise RuntimeError(entry.result.error.message)
    return 1 + status.results[0].result.value


if __name__ == "__main__":
    server.run()
'''

TRACKED: Final = '''
import os
import subprocess
import time
from typing import Any

import trio

from component_sdk import ComponentServer, StepflowContext

server = ComponentServer()
LEAVES = {
    "name": "leaves",
    "steps": [
        {"id": "left", "component": "/python/leaf", "input": {"$input": "$"}},
        {"id": "right", "component": "/python/leaf", "input": {"$input": "$"}},
        {"id": "sum", "component": "/python/add", "input": [{"$step": "left"}, {"$step": "right"}]},
    ],
    "output": {"$step": "sum"},
}
NODES = {
    "name": "nodes",
    "steps": [{"id": "node", "component": "/python/node", "input": {"$input": "$"}}],
    "output": {"$step": "node"},
}


def track(ctx: StepflowContext) -> None:
    """Outside of any store, in one write each: what was really executed."""
    words = (ctx.run_id, ctx.item_index, ctx.step_id, ctx.attempt, time.time_ns() // 1_000_000)
    fd = os.open(os.environ["TRACK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, (" ".join(map(str, words)) + "\\n").encode())
    os.close(fd)


@server.component
async def leaf(input: int, ctx: StepflowContext) -> int:
    track(ctx)
    await trio.sleep(0.01 * (1 + input % 3))
    return input


@server.component
async def add(input: list[int], ctx: StepflowContext) -> int:
    track(ctx)
    return sum(input)


@server.component
async def node(input: dict, ctx: StepflowContext) -> dict:
    """Two nodes below this one, or leaves below the lowest."""
    track(ctx)
    levels = input["levels"]
    if levels:
        status = await ctx.submit_run(flow=NODES, inputs=[{"levels": levels - 1}] * 2, wait=True)
        return {"sum": sum(entry.result.value["sum"] for entry in status.results), "run": status.run_id}
    status = await ctx.submit_run(flow=LEAVES, inputs=list(range(8)), wait=True, max_concurrency=4)
    return {"sum": sum(entry.result.value for entry in status.results), "run": status.run_id}


if __name__ == "__main__":
    if "STUBBORN" in os.environ:  # a process of its own, which outlives the end of its stdin, and SIGTERM
        command = ["/bin/sh", "-c", "trap '' TERM; sleep 600"]
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server.run()
'''


def config(folder: Path, source: str, *, storage: bool = False, **plugin: Any) -> dict[str, Any]:
    """A configuration with one component server under `/python`, started over stdio unless `plugin` says otherwise."""
    script = folder / "server.py"
    script.write_text(source)
    stdio = {"type": "stepflow", "transport": "stdio", "command": sys.executable, "args": [str(script)]}
    python = {"type": "stepflow", **plugin} if "url" in plugin or "accept" in plugin else {**stdio, **plugin}
    parts: dict[str, Any] = {
        "plugins": {"builtin": {"type": "builtin"}, "python": python},
        "routes": {"/builtin": [{"plugin": "builtin"}], "/python": [{"plugin": "python"}]},
    }
    if storage:
        parts["storage"] = {"type": "sqlite", "path": str(folder / "state.db")}
    return parts
