"""A planted secret shows in no sink: a runtime as a process, a server that does its worst with it, and every place that
anybody reads afterwards. `SINKS` names them all."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from component_sdk.client import Client, open_client
from protocol.runs import RunWebhookParams
from stepflow_runtime.connect.leftovers import MARK
from tests.system.servers import config

KEY: Final = 'sk-c4n4ry "quoted" \\ back\nc4n4ry-line-two é'
CREDENTIALS: Final = {"user": "c4n4ry-user", "password": "c4n4ry-passw0rd"}
CANARY: Final = "c4n4ry"
WEBHOOK_SECRET: Final = "whsec_" + base64.b64encode(b"c4n4ry-webhook-secret-of-32-bytes").decode()
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
        self.process: trio.Process
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
        self.process = process
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


SINKS: Final = {
    "answer", "runs/get", "runs/list", "runs/items", "runs/steps", "runs/events", "results", "blobs/get", "flow",
    "rpc.discover", "components/list", "webhooks", "log", "command lines", "environments", "database", "backup",
    "files", "cli",
}  # fmt: skip
"""Wherever anybody but the component itself could come across a secret."""

LOOKED_AT_ONCE: Final = {
    "blobs/get": "use",
    "cli": "raise",
    "backup": "raise",
    "components/list": "raise",
    "command lines": "raise",
    "environments": "raise",
}
"""What looks the same whatever the component does."""


async def read_all(client: Client, address: str) -> dict[str, list[str]]:
    """What a client can find out, as text, by sink."""
    found: dict[str, list[str]] = defaultdict(list)
    async for run in client.list_runs():
        handle = client.get_run(run.run_id)
        found["runs/list"].append(repr(run))
        found["runs/get"].append(repr(await handle.refresh()))
        found["results"] += [repr(entry) async for entry in handle.results()]
        found["runs/events"] += [repr(event) async for event in handle.events()]
        found["flow"].append(repr(await client.get_blob(run.flow_id)))
    found["webhooks"] = [repr(webhook) async for webhook in client.list_webhooks()]
    found["webhooks"] += [repr(delivery) async for delivery in client.list_deliveries()]
    stream = await trio.open_unix_socket(address.removeprefix("unix:"))
    async with stream:
        for method in ("runs/items", "runs/steps"):
            for run_id in {json.loads(text)["runId"] for text in await ask(stream, "runs/list", {}, "runs")}:
                found[method] += await ask(stream, method, {"runId": run_id}, method.partition("/")[2])
        found["rpc.discover"] = await ask(stream, "rpc.discover", {})
    return found


async def ask(stream: trio.SocketStream, method: str, params: dict[str, Any], field: str | None = None) -> list[str]:
    """A raw answer, all that is in it; or the members of one field."""
    await stream.send_all(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
    line = b""
    while not line.endswith(b"\n"):
        line += await stream.receive_some()
    result = json.loads(line)["result"]
    return [json.dumps(member, ensure_ascii=False) for member in (result[field] if field else [result])]


def read_processes(runtime: trio.Process) -> dict[str, list[str]]:
    """The command lines of the runtime and its servers, and the environments of these: what `ps` tells others."""
    children = [int(pid) for pid in Path(f"/proc/{runtime.pid}/task/{runtime.pid}/children").read_text().split()]
    read = [(kind, Path(f"/proc/{pid}/{kind}").read_bytes()) for pid in children for kind in ("cmdline", "environ")]
    return {
        "command lines": [
            Path(f"/proc/{runtime.pid}/cmdline").read_text(),
            *(text.decode() for kind, text in read if kind == "cmdline"),
        ],
        "environments": [text.decode() for kind, text in read if kind == "environ"],
    }


async def run_commands(folder: Path, address: str, run_id: str) -> dict[str, list[str]]:
    """What commands say, and a backup beside the database."""

    async def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "stepflow_runtime.app.cli", *arguments]
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        return (done.stdout + done.stderr).decode()

    config = ("--config", str(folder / "c.json"))
    return {
        "cli": [
            await run("runs", "get", run_id, "--url", address, "-o", "json"),
            await run("runs", "events", run_id, "--url", address),
            await run("db", "backup", str(folder / "backup.db"), *config),
            await run("db", "check", *config),
            await run("doctor", *config),
        ],
        "components/list": [await run("components", "list", *config, "-o", "json")],
    }


@pytest.mark.parametrize("how", ["use", "raise", "die"])
async def test_a_planted_secret_shows_in_no_sink(tmp_path: Path, how: str) -> None:
    runtime = Runtime(tmp_path)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            address = await nursery.start(runtime.run)
            async with open_client(address) as client:
                await client.register_webhook("https://receiver.invalid/", secret=WEBHOOK_SECRET)
                webhook = RunWebhookParams("https://receiver.invalid/", secret=WEBHOOK_SECRET)
                status = await client.submit_run(flow=FLOW, inputs=[{"how": how}], wait=True, webhook=webhook)
                said = await read_all(client, address)
                said["answer"] = [repr(status)]
                assert status.results is not None
                result: Any = status.results[0].result
                if how == "use":
                    check_values(result.value)
                    said["blobs/get"] = [repr(await client.get_blob(result.value["kept"]["blob_id"]))]
                elif how == "raise":
                    assert "bad key [secret]" in result.error.message
                else:
                    assert "exited with status 7" in result.error.message
                    assert "[secret]" in result.error.message
            if how == "raise":
                said |= read_processes(runtime.process) | await run_commands(tmp_path, address, status.run_id)
            nursery.cancel_scope.cancel()
    said["log"] = ["".join(runtime.said)]
    assert "component server wrote" in said["log"][0], "its stderr is in the log, or this test looks at nothing"
    assert "[secret]" in said["log"][0]
    said |= read_files(tmp_path)
    assert said.keys() == {sink for sink in SINKS if LOOKED_AT_ONCE.get(sink, how) == how}
    for sink, texts in said.items():
        assert any(texts), f"{sink}: there is something to look at"
        for text in texts:
            assert CANARY not in text, sink
            assert WEBHOOK_SECRET.removeprefix("whsec_") not in text, sink


def read_files(folder: Path) -> dict[str, list[str]]:
    """Every file that the runtime left, as text."""
    contents = {path.name: path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()}
    database = [contents.pop(name) for name in list(contents) if name.startswith("state.db")]
    backup = {"backup": [contents.pop("backup.db")]} if "backup.db" in contents else {}
    return {**backup, "database": database, "files": list(contents.values())}


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
