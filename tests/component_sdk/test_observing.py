"""Looking at many items and at component servers through the SDK, with a whole runtime."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import trio

from component_sdk import connect, open_client
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


async def test_states_of_items_and_component_servers_are_told(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    parts = {
        "plugins": {"python": {"type": "stepflow", "command": sys.executable, "args": ["server.py"]}},
        "routes": {"/python": [{"plugin": "python"}]},
        "storage": {"type": "memory"},
        "listen": {"rpc": "127.0.0.1:0"},
    }
    config = parse_config(msgspec.json.encode(parts), "stepflow-config.json", tmp_path, {})

    def look_blocking(address: str, run_id: str) -> tuple[list[str], list[str]]:
        with connect(address) as client:
            states = client.get_run(run_id).item_states(1, limit=2)
            return [state.value for state in states], [server.name for server in client.list_servers()]

    with trio.fail_after(30):
        async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
            address = await nursery.start(runtime.serve_tcp)
            async with open_client(address) as client:
                run = await client.start(FLOW, inputs=[1, 0, 2, 0])
                await run.wait()
                assert await run.item_states() == ["success", "failed", "success", "failed"]
                assert await run.item_states(3) == ["failed"]
                (server,) = await client.list_servers()
                assert (server.plugin, server.state) == ("python", "ready")
                assert server.pid is not None
                assert await trio.to_thread.run_sync(look_blocking, address, run.id) == (
                    ["failed", "success"],
                    ["python"],
                )
            nursery.cancel_scope.cancel()
