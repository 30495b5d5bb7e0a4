"""Looking at many items and at component servers through the SDK, with a whole runtime."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from component_sdk import RpcError, connect, open_client
from protocol.flows import Fit, Severity, ValidateFlowResult
from stepflow_runtime.app.config_file import parse_config
from stepflow_runtime.app.opening import open_runtime

SERVER = """
from component_sdk import ComponentServer

server = ComponentServer()


@server.component
async def invert(input: int) -> float:
    return 1 / input


server.run()
"""
FLOW: dict[str, Any] = {
    "steps": [{"id": "invert", "component": "/python/invert", "input": {"$input": "$"}}],
    "output": {"$step": "invert"},
}


@asynccontextmanager
async def open_address(folder: Path) -> AsyncGenerator[str]:
    """A whole runtime with that server."""
    (folder / "server.py").write_text(SERVER)
    parts = {
        "plugins": {"python": {"type": "stepflow", "command": sys.executable, "args": ["server.py"]}},
        "routes": {"/python": [{"plugin": "python"}]},
        "storage": {"type": "memory"},
        "listen": {"rpc": "127.0.0.1:0"},
    }
    config = parse_config(msgspec.json.encode(parts), "stepflow-config.json", folder, {})
    with trio.fail_after(30):
        async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
            yield await nursery.start(runtime.serve_tcp)
            nursery.cancel_scope.cancel()


async def test_states_of_items_and_component_servers_are_told(tmp_path: Path) -> None:
    def look_blocking(address: str, run_id: str) -> tuple[list[str], list[str]]:
        with connect(address) as client:
            states = client.get_run(run_id).item_states(1, limit=2)
            return [state.value for state in states], [server.name for server in client.list_servers()]

    async with open_address(tmp_path) as address, open_client(address) as client:
        run = await client.start(FLOW, inputs=[1, 0, 2, 0])
        await run.wait()
        assert await run.item_states() == ["success", "failed", "success", "failed"]
        assert await run.item_states(3) == ["failed"]
        (server,) = await client.list_servers()
        assert (server.plugin, server.state) == ("python", "ready")
        assert server.pid is not None
        assert await trio.to_thread.run_sync(look_blocking, address, run.id) == (["failed", "success"], ["python"])


async def test_a_flow_is_checked_and_typed_by_the_runtime_and_not_stored(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(msgspec.yaml.encode(FLOW).decode())
    text: dict[str, Any] = {**FLOW, "schemas": {"type": "object", "properties": {"input": {"type": "string"}}}}
    cyclic: dict[str, Any] = {**FLOW, "steps": [{**FLOW["steps"][0], "input": {"$step": "invert"}}]}

    def check_blocking(address: str) -> ValidateFlowResult:
        with connect(address) as client:
            return client.validate_flow(str(tmp_path / "flow.yaml"), types=True)

    async with open_address(tmp_path) as address, open_client(address) as client:
        sound = await trio.to_thread.run_sync(check_blocking, address)
        assert sound.diagnostics == []
        assert sound.types is not None
        assert sound.types.output == {"type": "number"}
        assert [(step.id, step.fit) for step in sound.types.steps] == [("invert", Fit.UNKNOWN)]
        assert (await client.validate_flow(text)).diagnostics == []
        (misfit,) = (await client.validate_flow(text, types=True)).diagnostics
        assert (misfit.severity, misfit.code, misfit.path) == (Severity.ERROR, "type_misfit", "/steps/0/input")
        (cycle,) = (await client.validate_flow(cyclic, types=True)).diagnostics
        assert cycle.code == "cycle"
        assert sound.flow_id is not None
        with pytest.raises(RpcError, match="no blob"):
            await client.get_blob(sound.flow_id)
