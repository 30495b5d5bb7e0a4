"""Requests to the HTTP side of a runtime, which runs in a thread beside the fuzzer and is made anew now and then.

A request is written as it is on the wire: `METHOD TARGET`, headers, an empty line, the body. Who asks leaves as soon as
nothing more comes.
"""

from __future__ import annotations

import atexit
import os
import re
import tempfile
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock
from urllib.parse import unquote

import httpx
import trio
import trio.testing
from msgspec import Struct
from starlette.types import ASGIApp, Message

from stepflow_runtime.app.config import BUILTIN_ROUTE, BuiltinConfig, Config, Listen, MemoryStorage, RuntimeLimits
from stepflow_runtime.app.opening import open_runtime
from stepflow_runtime.web import serving

HOST: Final = "fuzz.test"
MAX_BODY: Final = 64 * 1024
REQUESTS_EACH: Final = 500
"""That one runtime answers: what they submit stays in its memory."""
TIMEOUT_S: Final = 20.0
TOKEN: Final = "a-token-that-is-not-in-the-corpus"

FLOW: Final[dict[str, Any]] = {
    "name": "asks",
    "steps": [
        {
            "id": "ask",
            "component": "/builtin/suspend",
            "input": {
                "label": "go",
                "token": "a-hook",
                "payload": {"$input": "$"},
                "resume_schema": {"type": "integer"},
            },
        }
    ],
    "output": {"$step": "ask"},
}


class Answer(Struct):
    """What was sent back; the body as far as it came."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Web:
    """The HTTP side of two runtimes, of which the second asks for a token.

    Args:
        app, guarded: Theirs.
        run_id: A run of the first that waits under the hook `a-hook`, and has a stream `log` and an artifact `a/b.txt`.
    """

    def __init__(self, app: ASGIApp, guarded: ASGIApp, run_id: str) -> None:
        self._apps = {False: app, True: guarded}
        self._run_id = run_id

    async def ask(self, data: bytes, *, guarded: bool = False) -> Answer:
        """Answers one request; `$RUN` in it is a run that there is."""
        head, _, body = data.replace(b"$RUN", self._run_id.encode()).partition(b"\n\n")
        first, *lines = head.split(b"\n")
        method, _, target = first.partition(b" ")
        target = re.sub(rb"[^\x21-\x7e]", lambda byte: b"%%%02x" % byte[0][0], target)  # as HTTP would have it
        path, _, query = target.partition(b"?")
        headers = [_read_header(line) for line in lines if b":" in line]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": re.sub(r"[^A-Z]", "", method.decode("latin-1").upper()) or "GET",
            "scheme": "http",
            "path": unquote(path.decode()) or "/",
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": [(b"host", HOST.encode()), *(pair for pair in headers if pair[0] != b"host")],
            "server": (HOST, 80),
            "client": None,
        }
        return await _converse(self._apps[guarded], scope, body)


def _read_header(line: bytes) -> tuple[bytes, bytes]:
    """As HTTP would have it: neither control characters nor space around."""
    name, _, value = line.partition(b":")
    return re.sub(rb"[^!-9;-~]", b"", name).lower() or b"x", re.sub(rb"[\x00-\x1f\x7f]", b"", value).strip()


async def _converse(app: ASGIApp, scope: dict[str, Any], body: bytes) -> Answer:
    answer = Answer(0, [], b"")
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        await trio.testing.wait_all_tasks_blocked(0.001)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], list(message.get("headers", ()))
        else:
            answer.body += message.get("body", b"")

    with trio.fail_after(TIMEOUT_S):
        await app(scope, receive, send)
    return answer


@asynccontextmanager
async def _open_app(folder: Path, tokens: Path | None) -> AsyncGenerator[ASGIApp]:
    """What a runtime would have served over HTTP."""
    served: list[ASGIApp] = []

    async def serve(app: ASGIApp, config: Any, *, mode: str, task_status: trio.TaskStatus[None]) -> None:
        os.close(int(config.bind[0].removeprefix("fd://")))
        served.append(app)
        task_status.started()
        await trio.sleep_forever()

    config = Config(
        folder=folder,
        plugins={"builtin": BuiltinConfig()},
        routes=(BUILTIN_ROUTE,),
        storage=MemoryStorage(),
        listen=Listen(http="127.0.0.1:0", http_hosts=(HOST,), token_file=tokens),
        limits=RuntimeLimits(max_frame_bytes=MAX_BODY, max_items_per_submit=100),
    )
    async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
        with mock.patch.object(serving, "serve", serve):
            await nursery.start(runtime.serve_http)
        yield served[0]
        nursery.cancel_scope.cancel()


async def _furnish(app: ASGIApp) -> str:
    """Submits a run that waits, with a stream and an artifact; returns its id."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{HOST}") as http:

        async def call(method: str, **params: Any) -> Any:
            message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            return (await http.post("/rpc", json=message)).json()["result"]

        flow_id = (await call("blobs/put", data=FLOW, blob_type="flow"))["blob_id"]
        run = await call("runs/submit", flowId=flow_id, inputs=["<&>", 2], wait=True, waitFor="settled")
        await call("runs/streams/write", runId=run["runId"], namespace="log", chunks=[1, "two", {"three": 3}])
        await http.put(f"/runs/{run['runId']}/artifacts/a/b.txt", content=b"text")
    return str(run["runId"])


@asynccontextmanager
async def _open_web() -> AsyncGenerator[Web]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokens = folder / "tokens"
        tokens.write_text(TOKEN)
        tokens.chmod(0o600)
        async with _open_app(folder, None) as app, _open_app(folder, tokens) as guarded:
            yield Web(app, guarded, await _furnish(app))


class Portal:
    """A thread in which there is a `Web`, for callers that know nothing of trio."""

    def __init__(self) -> None:
        self._asked = 0
        self._thread: threading.Thread | None = None
        atexit.register(self.close)

    def ask(self, data: bytes, *, guarded: bool) -> Answer:
        """Has one request answered."""
        if self._asked % REQUESTS_EACH == 0:
            self.close()
            self._open()
        self._asked += 1
        return trio.from_thread.run(self._ask, data, guarded, trio_token=self._token)

    def close(self) -> None:
        """Ends the thread, if there is one."""
        if self._thread is not None:
            trio.from_thread.run_sync(self._stop.set, trio_token=self._token)
            self._thread.join()
            self._thread, self._asked = None, 0

    async def _ask(self, data: bytes, guarded: bool) -> Answer:
        return await self._web.ask(data, guarded=guarded)

    def _open(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._run, ready), daemon=True)
        self._thread.start()
        assert ready.wait(TIMEOUT_S)

    async def _run(self, ready: threading.Event) -> None:
        self._stop, self._token = trio.Event(), trio.lowlevel.current_trio_token()
        async with _open_web() as self._web:
            ready.set()
            await self._stop.wait()


_PORTAL: Final = Portal()


def close() -> None:
    """Ends the thread until something is asked again."""
    _PORTAL.close()


def ask(data: bytes, *, guarded: bool = False) -> Answer:
    """Has a request answered, by the runtime that asks for a token or by the other one."""
    return _PORTAL.ask(data, guarded=guarded)
