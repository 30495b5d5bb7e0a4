"""A planted secret shows in no sink: a runtime as a process, a server that does its worst with it, and every place that
anybody reads afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from component_sdk.client import Client, open_client
from stepflow_runtime.connect.leftovers import MARK
from tests.system.servers import config

KEY: Final = 'sk-c4n4ry "quoted" \\ back\nc4n4ry-line-two é'
CREDENTIALS: Final = {"user": "c4n4ry-user", "password": "c4n4ry-passw0rd"}
CANARY: Final = "c4n4ry"
INHERITED_ONLY: Final = "c4n4ry-not-for-flows"

SERVER: Final = '''
import hashlib, os, sys
from typing import Any
from component_sdk import ComponentServer

server = ComponentServer()

@server.component
def use(input: dict) -> Any:
    """Gives what shows that the values arrived, and leaks them wherever else it can."""
    key, credentials, how = input["key"], input.get("credentials"), input["how"]
    print("stdout", key, repr(input), flush=True)
    print("stderr", key, repr(input), file=sys.stderr, flush=True)
    if how == "raise":
        raise ValueError(f"bad key {key}: {input!r}")
    if how == "die":
        os._exit(7)
    password = credentials and credentials["password"]
    return {"digest": hashlib.sha256(f"{key}|{password}".encode()).hexdigest(), "env": sorted(os.environ)}

server.run()
'''

VARIABLES: Final = {
    "type": "object",
    "properties": {
        "key": {"type": "string", "is_secret": True},
        "credentials": {"type": "object", "is_secret": True, "env_var": "SOME_CREDENTIALS"},
        "absent": {"type": "string", "is_secret": True},
    },
    "required": ["key"],
}
GIVEN: Final = {
    "key": {"$variable": "key"},
    "credentials": {"$variable": "credentials", "default": None},
    "how": {"$input": "how"},
}
INNER: Final = {
    "schemas": {"type": "object", "properties": {"variables": VARIABLES}},
    "steps": [
        {"id": "passed", "component": "/python/use", "input": {"$input": "$"}},
        {"id": "own", "component": "/python/use", "input": {**GIVEN, "how": "use"}},
    ],
    "output": {"passed": {"$step": "passed"}, "own": {"$step": "own"}},
}
FLOW: Final = {
    "schemas": {"type": "object", "properties": {"variables": VARIABLES}},
    "steps": [
        {"id": "kept", "component": "/builtin/put_blob", "input": {"data": GIVEN}},
        {"id": "messages", "component": "/builtin/create_messages", "input": {"user_prompt": {"$variable": "key"}}},
        {"id": "use", "component": "/python/use", "input": GIVEN},
        {
            "id": "sub",
            "component": "/builtin/eval",
            "input": {"flow": {"$literal": INNER}, "input": {**GIVEN, "how": "use"}},
        },
        {
            "id": "unrouted",
            "component": "/nowhere/at/all",
            "input": GIVEN,
            "onError": {"action": "useDefault", "defaultValue": None},
        },
    ],
    "output": {
        "used": {"$step": "use"},
        "sub": {"$step": "sub", "path": "result"},
        "kept": {"$step": "kept"},
        "messages": {"$step": "messages"},
        "unrouted": {"$step": "unrouted"},
        "key": {"$variable": "key"},
        "absent": {"$variable": "absent", "default": "none"},
    },
}


class Runtime:
    """`stepflow serve` as a process, and all that it and its clients said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        parts = config(folder, SERVER, storage=True)
        parts["listen"] = {"rpc": f"unix:{folder / 'socket'}"}
        (folder / "c.json").write_text(json.dumps(parts))

    async def run(self, *, task_status: trio.TaskStatus[str]) -> None:
        command = [sys.executable, "-m", "stepflow_runtime.app.cli", "serve", "--log-level", "debug"]
        environment = {
            **os.environ,
            "STEPFLOW_VAR_KEY": KEY,
            "SOME_CREDENTIALS": json.dumps(CREDENTIALS),
            "OTHER_SECRET": INHERITED_ONLY,
        }
        process = await trio.lowlevel.open_process(
            [*command, "--config", str(self.folder / "c.json")],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        assert process.stderr is not None
        try:
            async for chunk in process.stderr:
                self.said.append(chunk.decode())
                if "listening on" in chunk.decode():
                    task_status.started(f"unix:{self.folder / 'socket'}")
        finally:
            with trio.CancelScope(shield=True):
                process.terminate()
                with trio.move_on_after(15):
                    async for chunk in process.stderr:
                        self.said.append(chunk.decode())
                process.kill()
                await process.wait()


def digest(credentials: dict[str, str] | None = None) -> str:
    password = credentials and credentials["password"]
    return hashlib.sha256(f"{KEY}|{password}".encode()).hexdigest()


async def read_all(client: Client) -> list[str]:
    """What a client can find out, as text."""
    found: list[str] = []
    async for run in client.list_runs():
        handle = client.get_run(run.run_id)
        found += [repr(run), repr(await handle.refresh())]
        found += [repr(entry) async for entry in handle.results()]
        found += [repr(event) async for event in handle.events()]
    return found


@pytest.mark.parametrize("how", ["use", "raise", "die"])
async def test_a_planted_secret_shows_in_no_sink(tmp_path: Path, how: str) -> None:
    runtime = Runtime(tmp_path)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            address = await nursery.start(runtime.run)
            async with open_client(address) as client:
                status = await client.submit_run(flow=FLOW, inputs=[{"how": how}], wait=True)
                said = await read_all(client)
                assert status.results is not None
                result: Any = status.results[0].result
                if how == "use":
                    check_values(result.value)
                    said.append(repr(await client.get_blob(result.value["kept"]["blob_id"])))
                elif how == "raise":
                    assert "bad key [secret]" in result.error.message
                else:
                    assert "exited with status 7" in result.error.message
                    assert "[secret]" in result.error.message
            nursery.cancel_scope.cancel()
    logs = "".join(runtime.said)
    assert "component server wrote" in logs, "its stderr is in the log, or this test looks at nothing"
    assert "[secret]" in logs
    for text in (logs, *said):
        assert CANARY not in text
    check_files(tmp_path)


def check_files(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert "state.db" in {path.name for path in files}
    for path in files:
        assert CANARY.encode() not in path.read_bytes(), path


def check_values(value: Any) -> None:
    """The real values arrived: in the step itself, in a sub-run that was handed them, and in one that declares them."""
    assert value["used"]["digest"] == digest(CREDENTIALS)
    sub = value["sub"]["value"]
    assert sub["passed"]["digest"] == digest(CREDENTIALS)
    assert sub["own"]["digest"] == digest(CREDENTIALS)
    assert value["key"].startswith("$secret:key:")
    assert value["messages"]["messages"][0]["content"] == value["key"]
    assert value["absent"] == "none"
    assert value["unrouted"] is None
    names = set(value["used"]["env"]) - {MARK}
    assert not {name for name in names if "SECRET" in name or "STEPFLOW" in name or "CRED" in name}
