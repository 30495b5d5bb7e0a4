"""A runtime that serves HTTP, within the test."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import trio

from stepflow_runtime.app.config import (
    BUILTIN_ROUTE,
    BuiltinConfig,
    Config,
    Listen,
    MemoryStorage,
    RuntimeLimits,
)
from stepflow_runtime.app.opening import open_runtime

MAX_FRAME_BYTES = 64 * 1024
LIMITS = RuntimeLimits(max_frame_bytes=MAX_FRAME_BYTES)
TIMEOUT_S = 20


@asynccontextmanager
async def open_web(folder: Path, tokens: Path | None = None) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of a runtime that has the built-in components and lives as long as the context."""
    listen = Listen(rpc="127.0.0.1:0", http="127.0.0.1:0", http_hosts=("runtime.test",), token_file=tokens)
    config = Config(
        folder=folder,
        plugins={"builtin": BuiltinConfig()},
        routes=(BUILTIN_ROUTE,),
        storage=MemoryStorage(),
        listen=listen,
        limits=LIMITS,
    )
    with trio.fail_after(TIMEOUT_S):
        async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
            address: str = await nursery.start(runtime.serve_http)
            async with httpx.AsyncClient(base_url=address, timeout=TIMEOUT_S) as client:
                yield client
            nursery.cancel_scope.cancel()


def call(method: str, **params: Any) -> dict[str, Any]:
    """A message."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


async def ask(web: httpx.AsyncClient, method: str, **params: Any) -> Any:
    """The result of a method."""
    answer = (await web.post("/rpc", json=call(method, **params))).json()
    assert "error" not in answer, answer["error"]
    return answer["result"]


async def submit(web: httpx.AsyncClient, flow: dict[str, Any], inputs: list[Any], **params: Any) -> str:
    """Submits a run of a flow; gives its id."""
    blob = await ask(web, "blobs/put", data=flow, blob_type="flow")
    run: dict[str, Any] = await ask(web, "runs/submit", flowId=blob["blob_id"], inputs=inputs, **params)
    run_id: str = run["runId"]
    return run_id
