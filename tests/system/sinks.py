"""Wherever anybody but a component could come across a secret, read as text. `canary` plants what is looked for."""

from __future__ import annotations

import html
import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import httpx
import trio

from component_sdk.client import Client
from tests.receiver import TRACES, Receiver
from tests.system.canary import CANARY, TOKEN, Runtime

Texts = dict[str, list[str]]
"""What was read, by sink."""

MAX_PAGES: Final = 400
STREAM: Final = "progress"
ARTIFACT: Final = "report.txt"


async def read_client(client: Client, runtime: Runtime) -> Texts:
    """What a client can find out."""
    found: Texts = defaultdict(list)
    async for run in client.list_runs():
        handle = client.get_run(run.run_id)
        found["runs/list"].append(repr(run))
        found["runs/get"].append(repr(await handle.refresh()))
        found["results"] += [repr(entry) async for entry in handle.results()]
        found["runs/events"] += [repr(event) async for event in handle.events()]
        found["flow"].append(repr(await client.get_blob(run.flow_id)))
    found["webhooks"] = [repr(webhook) async for webhook in client.list_webhooks()]
    found["webhooks"] += [repr(delivery) async for delivery in client.list_deliveries()]
    stream = await trio.open_unix_socket(runtime.rpc.removeprefix("unix:"))
    async with stream:
        await _ask(stream, "connect", {"protocolVersion": 1, "token": TOKEN})
        for run in (await _ask(stream, "runs/list", {}))["runs"]:
            for method in ("runs/items", "runs/steps"):
                found[method].append(_write(await _ask(stream, method, {"runId": run["runId"]})))
        found["rpc.discover"] = [_write(await _ask(stream, "rpc.discover", {}))]
    return found


async def _ask(stream: trio.SocketStream, method: str, params: dict[str, Any]) -> Any:
    """A raw answer, all that is in it."""
    await stream.send_all(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
    line = b""
    while not line.endswith(b"\n"):
        line += await stream.receive_some()
    return json.loads(line)["result"]


def _write(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# --- HTTP ------------------------------------------------------------------------------------------------------------


async def read_web(web: httpx.AsyncClient, ended: str, asking: str) -> Texts:
    """What is told over HTTP, to who has signed in and who has not.

    Args:
        web: A browser that has signed in.
        ended: A run that has ended.
        asking: One that waits under a hook, and has a stream and an artifact; it is resumed.
    """
    found: Texts = {"console": await _crawl(web), "metrics": [_tell(await web.get("/metrics"))]}
    listed = await web.get(f"/runs/{asking}/artifacts")
    signed = await web.post(f"/runs/{asking}/artifacts/{ARTIFACT}")
    linked = await web.get(signed.json()["url"])
    assert "All is well." in linked.text
    found["artifacts"] = [*map(_tell, (listed, signed, linked))]
    found["refusals"] = [*map(_tell, await _be_refused(web, asking))]
    hooked = await web.post("/hooks/known-to-who-is-asked?wait", json={"may": True})
    assert hooked.status_code == 200
    found["hooks"] = [_tell(hooked)]
    found["event streams"] = [
        _tell(await web.get(path))
        for run in (ended, asking)
        for path in (f"/runs/{run}/events?includeSubRuns", f"/runs/{run}/streams/{STREAM}")
    ]
    about = {"runId": ended, "includeResults": True}
    methods = ("runs/list", "runs/get", "runs/items", "runs/steps", "runs/events", "runs/itemStates", "rpc.discover")
    messages = [{"jsonrpc": "2.0", "id": 1, "method": method, "params": about} for method in methods]
    found["/rpc"] = [_tell(await web.post("/rpc", json=messages))]
    return found


async def sign_in(web: httpx.AsyncClient) -> None:
    """Shows the token as a browser does."""
    web.headers["Accept"] = "text/html"
    answer = await web.post("/login", data={"token": TOKEN})
    assert answer.status_code == 303
    assert CANARY not in _tell(answer)


async def _crawl(web: httpx.AsyncClient) -> list[str]:
    """All pages that links lead to, from the first on; those of the same run in another order of items count once."""
    texts: list[str] = []
    waiting, seen = ["/", "/login"], {"/", "/login"}
    while waiting and len(seen) < MAX_PAGES:
        path = waiting.pop(0)
        answer = await web.get(path, follow_redirects=True)
        assert answer.status_code == 200, path
        texts.append(_tell(answer))
        links = re.findall(r'(?:href|src)="([^"#]+)', answer.text) if "html" in answer.headers["content-type"] else []
        for link in (urljoin(path, html.unescape(link)) for link in links):
            if link.startswith("/") and "/streams/" not in link and link not in seen:
                seen.add(link)
                waiting.append(link)
    assert not waiting, "all pages were looked at"
    return texts


async def _be_refused(web: httpx.AsyncClient, run_id: str) -> list[httpx.Response]:
    """What is told to who gets it wrong, as a page and as JSON: also who shows a token nearly right."""
    wrong = TOKEN[:-1]
    resume = f"/runs/{run_id}/resume"
    answers: list[httpx.Response] = []
    for accept in ("text/html", "application/json"):
        headers = {"Accept": accept}
        answers += [
            await web.post(resume, headers=headers, data={"item": "0", "step": "ask", "label": "go", "value": "{"}),
            await web.post(resume, headers=headers, data={"item": "9", "step": "ask", "label": "go"}),
            await web.get("/runs/unknown", headers=headers),
            await web.get("/?label=x", headers=headers),
            await web.post("/login", headers=headers, data={"token": wrong}),
            await web.get("/", headers={**headers, "Cookie": "", "Authorization": f"Bearer {wrong}"}),
        ]
    assert all(answer.status_code >= 300 for answer in answers)
    return answers


def _tell(answer: httpx.Response) -> str:
    return f"{answer.headers}\n{html.unescape(answer.text)}"


def read_receiver(receiver: Receiver) -> Texts:
    """What was sent to a collector of traces, and to the receiver of webhooks."""
    return {
        "traces": [str(export) for export in receiver.traces],
        "deliveries": [f"{sent.headers}\n{sent.body.decode()}" for sent in receiver.sent if sent.path != TRACES],
    }


# --- this machine ----------------------------------------------------------------------------------------------------


def read_processes(runtime: trio.Process) -> Texts:
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


async def run_commands(runtime: Runtime, run_id: str) -> Texts:
    """What commands say, and a backup beside the database."""

    async def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "stepflow_runtime.app.cli", *arguments]
        done = await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, check=False, env=runtime.environment
        )
        return (done.stdout + done.stderr).decode()

    config = ("--config", str(runtime.config))
    return {
        "cli": [
            await run("runs", "get", run_id, "--url", runtime.rpc, "-o", "json"),
            await run("runs", "events", run_id, "--url", runtime.rpc),
            await run("db", "backup", str(runtime.config.parent / "backup.db"), *config),
            await run("db", "check", *config),
            await run("doctor", *config),
        ],
        "components/list": [await run("components", "list", *config, "-o", "json")],
    }


def read_files(folder: Path) -> Texts:
    """Every file that the runtime left."""
    contents = {path.name: path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()}
    database = [contents.pop(name) for name in list(contents) if name.startswith("state.db")]
    backup = {"backup": [contents.pop("backup.db")]} if "backup.db" in contents else {}
    return {**backup, "database": database, "files": list(contents.values())}
