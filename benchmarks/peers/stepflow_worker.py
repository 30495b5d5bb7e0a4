"""The worker of the Stepflow peer, in its environment; the orchestrator starts it."""

from __future__ import annotations

from typing import Any

from stepflow_py.worker import StepflowContext
from stepflow_py.worker.main import main, server


async def _double(input: dict[str, Any]) -> dict[str, Any]:
    return {"n": input["n"] * 2}


async def _parent(input: dict[str, Any], context: StepflowContext) -> dict[str, Any]:
    inputs = [{"n": n} for n in range(int(input["children"]))]
    results = await context.evaluate_run_by_id(input["flow_id"], inputs)
    return {"count": len(results)}


server.component(id="double")(_double)
server.component(id="parent")(_parent)

if __name__ == "__main__":
    main()
