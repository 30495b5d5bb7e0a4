"""What is planted so that nobody finds it: secrets of every kind, flows that use them, and a server that does its worst
with them. `sinks` looks for them."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import trio

from tests.receiver import TRACES, Receiver
from tests.system.servers import config

CANARY: Final = "c4n4ry"
KEY: Final = 'sk-c4n4ry "quoted" \\ back\nc4n4ry-line-two é'
CREDENTIALS: Final = {"user": "c4n4ry-user", "password": "c4n4ry-passw0rd"}
INHERITED_ONLY: Final = "c4n4ry-not-for-flows"
WEBHOOK_SECRET: Final = "whsec_" + base64.b64encode(b"c4n4ry-webhook-secret-of-32-bytes").decode()
TOKEN: Final = "c4n4ry-token-of-a-client"
COLLECTOR_KEY: Final = "c4n4ry-key-of-the-collector"
PLANTED: Final = (CANARY, WEBHOOK_SECRET.removeprefix("whsec_"))
"""What stands in each of them."""

SERVER: Final = '''
import hashlib, os, sys
from typing import Any
from component_sdk import ComponentServer, StepflowContext

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

@server.component
async def tell(input: Any, ctx: StepflowContext) -> str:
    """Leaves something to look at: a stream, an artifact, which it has learnt nothing for."""
    await ctx.stream("progress").write("at work")
    await ctx.put_artifact("report.txt", "All is well.")
    return "told"

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
ASKING: Final = {
    "name": "asks",
    "schemas": {"type": "object", "properties": {"variables": VARIABLES}},
    "steps": [
        {"id": "tell", "component": "/python/tell", "input": None, "mustExecute": True},
        {
            "id": "ask",
            "component": "/builtin/suspend",
            "input": {"payload": {"of": {"$step": "tell"}, **GIVEN}, "label": "go", "token": "known-to-who-is-asked"},
        },
    ],
    "output": {"answer": {"$step": "ask"}, "key": {"$variable": "key"}},
}


class Runtime:
    """`stepflow serve` as a process that serves all that there is, and what it said.

    Args:
        folder: Where its state is and all else that may be looked at.
        safe: Where its token file is.
        receiver: Where its traces go.

    Attributes:
        rpc: Its address.
        http: Its address for HTTP.
        tokens: The token file of a client.
    """

    def __init__(self, folder: Path, safe: Path, receiver: Receiver) -> None:
        self.config = folder / "c.json"
        self.tokens = safe / "tokens"
        self.rpc = f"unix:{folder / 'socket'}"
        self.http = ""
        self.said = ""
        self.process: trio.Process
        safe.mkdir()
        self.tokens.write_text(TOKEN)
        self.tokens.chmod(0o600)
        parts = config(folder, SERVER, storage=True)
        parts["listen"] = {"rpc": self.rpc, "http": "127.0.0.1:0", "tokenFile": str(self.tokens)}
        parts["webhooks"] = {"schemes": ["https", "http"], "allow": ["127.0.0.0/8"]}
        parts["telemetry"] = {
            "endpoint": receiver.url + TRACES,
            "headers": {"x-key": "${COLLECTOR_KEY}"},
            "stepSampleRatio": 1,
            "intervalMs": 100,
        }
        self.config.write_text(json.dumps(parts))

    @property
    def environment(self) -> Mapping[str, str]:
        """Of the runtime and of commands beside it."""
        return {
            **os.environ,
            "STEPFLOW_VAR_KEY": KEY,
            "SOME_CREDENTIALS": json.dumps(CREDENTIALS),
            "OTHER_SECRET": INHERITED_ONLY,
            "COLLECTOR_KEY": COLLECTOR_KEY,
            "STEPFLOW_TOKEN_FILE": str(self.tokens),
        }

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serves until it is cancelled; then it stops in order."""
        command = [sys.executable, "-m", "stepflow_runtime.app.cli", "serve", "--log-level", "debug"]
        self.process = await trio.lowlevel.open_process(
            [*command, "--config", str(self.config)],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment,
        )
        assert self.process.stderr is not None
        try:
            async for chunk in self.process.stderr:
                self.said += chunk.decode()
                if not self.http and (address := re.search(r"console and HTTP at (\S+)\n", self.said)):
                    self.http = address[1]
                    task_status.started()
        finally:
            with trio.CancelScope(shield=True):
                self.process.terminate()
                with trio.move_on_after(15):
                    async for chunk in self.process.stderr:
                        self.said += chunk.decode()
                self.process.kill()
                await self.process.wait()
