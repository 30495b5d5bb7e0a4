"""Tools of MCP servers, called from flows: real servers, in processes of their own, and a whole runtime."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import venv
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import trio

from protocol.link import Link
from protocol.methods import PUT_BLOB, SUBMIT_RUN
from protocol.runs import RunStatus, SubmitParams
from protocol.types import BlobType, PutBlobParams
from stepflow_runtime.app import mcp as app_mcp
from stepflow_runtime.app.config_file import parse_config
from stepflow_runtime.app.opening import open_runtime
from stepflow_runtime.app.runtime import Runtime
from tests.stepflow_runtime.connect.connect_kit import PATIENCE_S

SERVER: Final = Path(__file__).parent / "mcp_server.py"


@asynccontextmanager
async def tools(folder: Path, **plugin: Any) -> AsyncGenerator[tuple[Runtime, Link]]:
    """A runtime whose plugin under `/tools` is an MCP server: by default our own, over stdio."""
    stdio = {} if "url" in plugin else {"command": sys.executable, "args": [str(SERVER)]}
    parts = {
        "plugins": {"tools": {"type": "mcp", **stdio, **plugin}},
        "routes": {"/tools": [{"plugin": "tools"}]},
        "storage": {"type": "memory"},
        "retry": {"backoff": {"type": "constant", "delayMs": 1}},
    }
    config = parse_config(msgspec.json.encode(parts), "stepflow-config.json", folder, {})
    with trio.fail_after(PATIENCE_S):
        async with open_runtime(config) as runtime, runtime.connect_local() as client:
            yield runtime, client


async def call(client: Link, tool: str, input: Any, **step: Any) -> Any:
    """Runs a flow of one step; returns its output, or its error."""
    flow = {"steps": [{"id": "s", "component": f"/tools/{tool}", "input": {"$literal": input}, **step}]}
    blob = PutBlobParams(msgspec.Raw(msgspec.json.encode({**flow, "output": {"$step": "s"}})), BlobType.FLOW)
    flow_id = (await client.call(PUT_BLOB, blob)).blob_id
    status: RunStatus = await client.call(SUBMIT_RUN, SubmitParams(flow_id, [msgspec.Raw(b"null")], wait=True))
    assert status.results is not None
    result = status.results[0].result
    return result.error if result.error else msgspec.json.decode(msgspec.json.encode(result.value))


async def until(condition: Callable[[], bool]) -> None:
    """What another process does is not told to us; bounded by `tools`."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.01)


async def test_the_tools_of_a_server_are_components_with_their_schemas(tmp_path: Path) -> None:
    async with tools(tmp_path) as (runtime, _):
        found = {info.component: info for info in await runtime.components()}
    assert set(found) == {"/tools/add", "/tools/greet", "/tools/refuse", "/tools/die", "/tools/linger"}
    add = found["/tools/add"]
    assert add.description == "Adds two numbers."
    assert set(add.input_schema["properties"]) == {"a", "b"}
    assert "result" in add.output_schema["properties"]
    assert "content" in found["/tools/greet"].output_schema["properties"]


async def test_a_structured_result_is_the_output_and_any_other_comes_as_content(tmp_path: Path) -> None:
    async with tools(tmp_path) as (_, client):
        assert await call(client, "add", {"a": 1, "b": 2}) == {"result": 3}
        assert await call(client, "greet", {"name": "Ada"}) == {"content": [{"type": "text", "text": "Hello Ada"}]}


async def test_errors_say_who_is_to_blame(tmp_path: Path) -> None:
    async with tools(tmp_path) as (_, client):
        failed = await call(client, "refuse", {"why": "it is late"})
        assert failed.code == "COMPONENT_FAILED"
        assert "it is late" in failed.message
        missing = await call(client, "subtract", {})
        assert missing.code == "COMPONENT_NOT_FOUND"
        assert "it has: add, die, greet" in missing.message
        assert (await call(client, "add", [1, 2])).code == "INVALID_INPUT"


async def test_a_server_that_dies_is_started_again_and_the_step_goes_again(tmp_path: Path) -> None:
    async with tools(tmp_path) as (_, client):
        assert (await call(client, "die", {"marker": str(tmp_path / "died")}))["result"] > 0


async def test_a_time_out_cancels_the_call_in_the_server(tmp_path: Path) -> None:
    marker = tmp_path / "cancelled"
    async with tools(tmp_path) as (_, client):
        error = await call(client, "linger", {"marker": str(marker)}, timeoutMs=200, onError={"action": "fail"})
        assert error.code == "TIMEOUT"
        await until(marker.exists)


async def test_what_is_no_mcp_server_is_told_with_its_stderr(tmp_path: Path) -> None:
    script = "import sys; print('wrong flag', file=sys.stderr)"
    async with tools(tmp_path, args=["-c", script]) as (runtime, _):
        await until(lambda: runtime.router.servers()[0].trouble is not None)
        trouble = runtime.router.servers()[0].trouble or ""
    assert "the process exited with status 0" in trouble
    assert "wrong flag" in trouble


async def test_a_server_over_http_is_used_and_found_again(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    marker = tmp_path / "died"

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, str(SERVER), str(port)], stderr=subprocess.DEVNULL)

    server = start()
    try:
        async with tools(tmp_path, url=f"http://127.0.0.1:{port}/mcp") as (_, client):
            assert await call(client, "add", {"a": 1, "b": 2}) == {"result": 3}
            async with trio.open_nursery() as nursery:
                results: list[Any] = []

                async def die() -> None:
                    results.append(await call(client, "die", {"marker": str(marker)}))

                nursery.start_soon(die)
                await trio.to_thread.run_sync(server.wait)
                server = start()
            assert results[0]["result"] == server.pid
    finally:
        server.kill()
        server.wait()


async def test_without_the_extra_the_configuration_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stepflow_runtime.connect.mcp.origin", None)
    with pytest.raises(ValueError, match="stepflow-runtime\\[mcp\\]"):
        async with tools(tmp_path):
            pass
    assert "pip install" in app_mcp.MISSING


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`mcp-server-time` as it is on PyPI, in an environment of its own."""
    folder = tmp_path_factory.mktemp("published")
    venv.create(folder, with_pip=True)
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "mcp-server-time"]
    done = subprocess.run(install, capture_output=True, timeout=240, check=False)
    if done.returncode:
        shutil.rmtree(folder)
        pytest.skip("mcp-server-time cannot be installed here: is there a package index?")
    return str(folder / "bin" / "mcp-server-time")


async def test_a_published_server_is_called_from_a_flow_unmodified(tmp_path: Path, published: str) -> None:
    async with tools(tmp_path, command=published, args=["--local-timezone", "UTC"]) as (runtime, client):
        assert "/tools/convert_time" in {info.component for info in await runtime.components()}
        times = {"source_timezone": "Europe/Berlin", "time": "12:00", "target_timezone": "Asia/Kolkata"}
        output = await call(client, "convert_time", times)
        told = output if "target" in output else msgspec.json.decode(output["content"][0]["text"])
        assert told["target"]["timezone"] == "Asia/Kolkata"
