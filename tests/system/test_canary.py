"""A planted secret shows in no sink: a runtime as a process, a server that does its worst with it, and every place that
anybody reads afterwards. `SINKS` names them all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import trio

from component_sdk.client import Client, open_client
from protocol.runs import RunStatus, RunWebhookParams
from stepflow_runtime.connect.leftovers import MARK
from tests.receiver import open_receiver
from tests.system.canary import ASKING, COLLECTOR_KEY, CREDENTIALS, FLOW, KEY, PLANTED, WEBHOOK_SECRET, Runtime
from tests.system.sinks import (
    Texts,
    read_client,
    read_files,
    read_processes,
    read_receiver,
    read_web,
    run_commands,
    sign_in,
)

SINKS: Final = {
    "answer", "runs/get", "runs/list", "runs/items", "runs/steps", "runs/events", "results", "blobs/get", "flow",
    "rpc.discover", "components/list", "webhooks", "deliveries", "traces", "console", "/rpc", "event streams",
    "artifacts", "hooks", "metrics", "refusals", "log", "command lines", "environments", "database", "backup", "files",
    "cli",
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


@pytest.mark.parametrize("how", ["use", "raise", "die"])
async def test_a_planted_secret_shows_in_no_sink(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    with trio.fail_after(60), open_receiver() as receiver:
        runtime = Runtime(folder, tmp_path / "safe", receiver)
        async with trio.open_nursery() as nursery:
            await nursery.start(runtime.run)
            async with (
                open_client(runtime.rpc, token_file=runtime.tokens) as client,
                httpx.AsyncClient(base_url=runtime.http, timeout=30) as web,
            ):
                await client.register_webhook("https://receiver.invalid/", secret=WEBHOOK_SECRET)
                webhook = RunWebhookParams(receiver.url, secret=WEBHOOK_SECRET)
                status = await client.submit_run(flow=FLOW, inputs=[{"how": how}], wait=True, webhook=webhook)
                asking = await client.submit_run(flow=ASKING, inputs=[{"how": how}], wait=True, wait_for="settled")
                said = await look(client, web, runtime, status, asking, how)
            nursery.cancel_scope.cancel()
        assert receiver.sent
        assert {sent.headers.get("x-key") for sent in receiver.sent} == {COLLECTOR_KEY, None}
        said |= read_receiver(receiver)
    said["log"] = [runtime.said]
    assert "component server wrote" in runtime.said, "its stderr is in the log, or this test looks at nothing"
    assert "[secret]" in runtime.said
    said |= read_files(folder)
    assert said.keys() == {sink for sink in SINKS if LOOKED_AT_ONCE.get(sink, how) == how}
    for sink, texts in said.items():
        assert any(texts), f"{sink}: there is something to look at"
        for text in texts:
            assert not any(planted in text for planted in PLANTED), sink


async def look(
    client: Client, web: httpx.AsyncClient, runtime: Runtime, status: RunStatus, asking: RunStatus, how: str
) -> Texts:
    """Reads what is to be read while the runtime serves, and checks that the secret was really used."""
    assert status.results is not None
    result: Any = status.results[0].result
    await sign_in(web)
    said = {"answer": [repr(status), repr(asking)], **await read_web(web, status.run_id, asking.run_id)}
    said |= await read_client(client, runtime)
    match how:
        case "use":
            check_values(result.value)
            said["blobs/get"] = [repr(await client.get_blob(result.value["kept"]["blob_id"]))]
        case "raise":
            assert "bad key [secret]" in result.error.message
            said |= read_processes(runtime.process) | await run_commands(runtime, status.run_id)
        case _:
            assert "exited with status 7" in result.error.message
            assert "[secret]" in result.error.message
    return said


def check_values(value: Any) -> None:
    """The real values arrived: in the step itself, in a sub-run that was handed them, and in one that declares them."""
    assert value["used"]["digest"] == _digest(CREDENTIALS)
    sub = value["sub"]["value"]
    assert sub["passed"]["digest"] == _digest(CREDENTIALS)
    assert sub["own"]["digest"] == _digest(CREDENTIALS)
    assert value["key"].startswith("$secret:key:")
    assert value["messages"]["messages"][0]["content"] == value["key"]
    assert value["absent"] == "none"
    assert value["unrouted"] is None
    names = set(value["used"]["env"]) - {MARK}
    assert not {name for name in names if "SECRET" in name or "STEPFLOW" in name or "CRED" in name}


def _digest(credentials: dict[str, str]) -> str:
    return hashlib.sha256(f"{KEY}|{credentials['password']}".encode()).hexdigest()
