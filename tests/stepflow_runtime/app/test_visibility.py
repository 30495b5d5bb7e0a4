"""What a component server may see and write: two of them, raw, on one runtime with a client that sees all."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import trio

from component_sdk.client import Client, open_client
from protocol.methods import METHODS, READING, Side
from stepflow_runtime.app.config import AcceptConfig, Config, Listen, MemoryStorage
from stepflow_runtime.app.opening import open_runtime
from stepflow_runtime.connect.routes import Route
from tests.stepflow_runtime.connect.doors import Json, Peer, knock

ABSENT: Final = "00000000-0000-7000-8000-000000000000"
QUICK: Final[Json] = {"steps": [], "output": {"$input": "$"}}


def flow(component: str) -> Json:
    return {"steps": [{"id": "s", "component": component, "input": {"$input": "$"}}], "output": {"$step": "s"}}


class Server:
    """A component server that answers by hand."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._last_id = 0
        self._executes: list[Json] = []

    async def introduce(self, name: str) -> None:
        await self.ask("connect", protocolVersion=1, role="server", name=name)
        await self._answer(await self._peer.receive(), {"server_protocol_version": 1})
        assert (await self._peer.receive())["method"] == "initialized"
        await self._answer(await self._peer.receive(), {"components": [{"component": "/c"}]})

    async def ask(self, method: str, **params: Any) -> Json:
        self._last_id += 1
        message = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        await self._peer.send(msgspec.json.encode(message) + b"\n")
        while (answer := await self._peer.receive()).get("id") != self._last_id or "method" in answer:
            self._executes.append(answer)
        return answer

    async def take(self) -> Json:
        """The next execution: its `params`, and its `id`."""
        return self._executes.pop(0) if self._executes else await self._peer.receive()

    async def finish(self, execution: Json) -> None:
        await self._answer(execution, {"output": execution["params"]["input"]})

    async def _answer(self, request: Json, result: Json) -> None:
        message = {"jsonrpc": "2.0", "id": request["id"], "result": result}
        await self._peer.send(msgspec.json.encode(message) + b"\n")


class Scene:
    """A run whose step is at server `a`, and another whose step is at `b`."""

    def __init__(self, address: str, client: Client, a: Server, b: Server) -> None:
        self.address, self.client, self.a, self.b = address, client, a, b
        self.mine = self.theirs = ""
        self.execution: Json = {}

    async def begin(self) -> None:
        self.mine = (await self.client.start(flow("/a/c"), [1])).id
        self.theirs = (await self.client.start(flow("/b/c"), [2])).id
        self.execution = await self.a.take()
        await self.b.take()

    @property
    def execution_id(self) -> str:
        found: str = self.execution["params"]["observability"]["execution_id"]
        return found


@asynccontextmanager
async def open_scene() -> AsyncGenerator[Scene]:
    config = Config(
        folder=Path(),
        plugins={"a": AcceptConfig(accept="a"), "b": AcceptConfig(accept="b")},
        routes=(Route("/a/{*component}", "a"), Route("/b/{*component}", "b")),
        storage=MemoryStorage(),
        listen=Listen(rpc="127.0.0.1:0"),
    )
    async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
        address = await nursery.start(runtime.serve_tcp)
        async with knock(address) as one, knock(address) as other, open_client(address) as client:
            a, b = Server(one), Server(other)
            await a.introduce("a")
            await b.introduce("b")
            scene = Scene(address, client, a, b)
            await scene.begin()
            yield scene
        nursery.cancel_scope.cancel()


NAMING: Final[dict[str, Json]] = {
    "runs/get": {},
    "runs/items": {},
    "runs/itemStates": {},
    "runs/steps": {},
    "runs/events": {},
    "runs/append": {"atIndex": 1, "inputs": [1]},
    "runs/cancel": {},
    "runs/delete": {},
    "runs/resume": {"resumeData": 1},
    "runs/restart": {},
    "runs/timeTravel": {"step": "s"},
    "runs/pause": {},
    "runs/unpause": {},
    "runs/wakeUp": {},
    "runs/sleep": {"durationMs": 1},
    "runs/streams/write": {"chunks": [1]},
    "runs/streams/read": {},
    "runs/streams/close": {},
    "runs/streams/list": {},
    "runs/artifacts/put": {"name": "a", "mimeType": "text/plain", "blobId": f"blake3:{0:064}"},
    "runs/artifacts/list": {},
    "runs/artifacts/get": {"artifactId": ABSENT},
    "runs/checkpoint": {"key": "k", "value": 1},
    "webhooks/deliveries": {},
    "flows/get_batch": {},
}
"""Methods that name a run, and what else they need."""


def naming(method: str, run_id: str) -> Json:
    return {"batch_id" if method == "flows/get_batch" else "runId": run_id, **NAMING[method]}


def test_every_method_that_names_a_run_is_tried() -> None:
    methods = [method for method in METHODS.values() if method.answered_by is Side.RUNTIME]
    named = {method.name for method in methods if {"run_id", "batch_id"} & set(method.params.__struct_fields__)}
    assert named == set(NAMING)


@pytest.mark.parametrize("method", NAMING)
async def test_a_run_of_another_tree_is_not_found_like_one_that_is_absent(method: str) -> None:
    async with open_scene() as scene:
        absent = (await scene.a.ask(method, **naming(method, ABSENT)))["error"]
        hidden = (await scene.a.ask(method, **naming(method, scene.theirs)))["error"]
        assert hidden["code"] == absent["code"] == -32010
        assert str(hidden).replace(scene.theirs, ABSENT) == str(absent)
        assert (await scene.client.get_run(scene.theirs).refresh()).status == "running"


@pytest.mark.parametrize("method", ["runs/get", "runs/items", "runs/steps", "runs/events", "flows/get_batch"])
async def test_a_server_sees_the_tree_that_it_executes_in_and_no_longer(method: str) -> None:
    async with open_scene() as scene:
        assert "result" in await scene.a.ask(method, **naming(method, scene.mine))
        other_connection = {**naming(method, scene.mine), "observability": {"execution_id": scene.execution_id}}
        assert "result" in await scene.b.ask(method, **other_connection), "an execution counts on any connection"
        await scene.a.finish(scene.execution)
        with trio.fail_after(10):
            await scene.client.get_run(scene.mine).wait()
        assert "error" in await scene.a.ask(method, **naming(method, scene.mine))
        assert "error" in await scene.b.ask(method, **other_connection)


async def test_a_server_sees_what_its_plugin_submitted_whatever_it_executes() -> None:
    async with open_scene() as scene:
        await scene.a.finish(scene.execution)
        with trio.fail_after(10):
            await scene.client.get_run(scene.mine).wait()
        flow_id = await scene.client.put_blob(QUICK, "flow")
        answer = await scene.a.ask("runs/submit", flowId=flow_id, inputs=[1], wait=True)
        ours = answer["result"]["runId"]
        assert answer["result"]["createdBy"] == "a"
        assert (await scene.a.ask("runs/get", runId=ours))["result"]["status"] == "success"
        assert "error" in await scene.b.ask("runs/get", runId=ours)
        listed = (await scene.a.ask("runs/list"))["result"]["runs"]
        assert [run["runId"] for run in listed] == [ours]
        assert len([run async for run in scene.client.list_runs()]) == 3


async def test_a_client_that_is_called_like_a_plugin_shows_its_runs_to_nobody() -> None:
    async with open_scene() as scene, open_client(scene.address, name="a") as namesake:
        theirs = await namesake.start(QUICK, [1])
        assert (await theirs.wait()).created_by == "a"
        assert "error" in await scene.a.ask("runs/get", runId=theirs.id)


async def test_a_submission_is_not_linked_to_a_run_that_its_server_does_not_see() -> None:
    async with open_scene() as scene:
        flow_id = await scene.client.put_blob(QUICK, "flow")
        hidden = {"run_id": scene.theirs, "step_id": "s"}
        answer = await scene.a.ask("runs/submit", flowId=flow_id, inputs=[1], observability=hidden)
        assert "parentRunId" not in answer["result"]
        seen = {"run_id": scene.mine, "step_id": "elsewhere"}
        answer = await scene.a.ask("runs/submit", flowId=flow_id, inputs=[2], observability=seen)
        assert answer["result"]["parentRunId"] == scene.mine


async def test_a_server_has_no_environment_variable_read_that_is_not_meant_for_flows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOMEBODYS_KEY", "hush")
    key = {"type": "string", "is_secret": True, "env_var": "SOMEBODYS_KEY"}
    variables = {"type": "object", "properties": {"key": key}, "required": ["key"]}
    async with open_scene() as scene:
        flow_id = await scene.client.put_blob({**QUICK, "schemas": {"properties": {"variables": variables}}}, "flow")
        answer = await scene.a.ask("runs/submit", flowId=flow_id, inputs=[1])
        assert [issue["code"] for issue in answer["error"]["data"]["issues"]] == ["secret_unresolved"]
        assert (await scene.client.submit_run(flow_id, [1], wait=True)).status == "success"


async def test_an_execution_that_has_ended_writes_nothing() -> None:
    async with open_scene() as scene:
        flow_id = await scene.client.put_blob(QUICK, "flow")
        open_run = (await scene.a.ask("runs/submit", flowId=flow_id, inputs=[], sealed=False))["result"]["runId"]
        writing: dict[str, Json] = {
            "blobs/put": {"data": "stale"},
            "runs/submit": {"flowId": flow_id, "inputs": [1]},
            "runs/append": {"runId": open_run, "atIndex": 0, "inputs": [1]},
            "runs/cancel": {"runId": open_run},
            "runs/delete": {"runId": open_run},
            "runs/resume": {"runId": open_run},
            "runs/restart": {"runId": open_run},
            "runs/timeTravel": {"runId": open_run, "step": "s"},
            "runs/pause": {"runId": open_run},
            "runs/unpause": {"runId": open_run},
            "runs/wakeUp": {"runId": open_run},
            "runs/sleep": {"durationMs": 1},
            "runs/streams/write": {"runId": open_run, "chunks": [1]},
            "runs/streams/close": {"runId": open_run},
            "runs/artifacts/put": {"runId": open_run, "name": "a", "mimeType": "text/plain", "blobId": flow_id},
            "runs/checkpoint": {"runId": open_run, "key": "k", "value": 1},
            "jobs/submit": {"runs": [{"flowId": flow_id, "inputs": [1]}]},
            "jobs/cancel": {"jobRunId": "any"},
            "schedules/create": {
                "cron": "0 2 * * *",
                "timeZone": "UTC",
                "run": {"flowId": flow_id, "inputs": [1]},
            },
            "schedules/pause": {"scheduleId": "any"},
            "schedules/unpause": {"scheduleId": "any"},
            "schedules/delete": {"scheduleId": "any"},
            "webhooks/register": {"url": "https://receiver.example/", "events": ["run.completed"]},
            "webhooks/delete": {"webhookId": "any"},
            "webhooks/redeliver": {"webhookId": "any"},
            "flows/evaluate": {"flow_id": flow_id, "input": 1},
            "flows/submit_batch": {"flow_id": flow_id, "inputs": [1]},
        }
        runtimes = {name for name, method in METHODS.items() if method.answered_by is Side.RUNTIME}
        assert set(writing) == runtimes - READING
        await scene.a.finish(scene.execution)
        with trio.fail_after(10):
            await scene.client.get_run(scene.mine).wait()
        before = [(run.run_id, run.status, run.items.total) async for run in scene.client.list_runs()]
        stale = {"execution_id": scene.execution_id}
        for method, params in writing.items():
            answer = await scene.a.ask(method, **params, observability=stale)
            assert answer["error"]["code"] == -32022, method
        assert [(run.run_id, run.status, run.items.total) async for run in scene.client.list_runs()] == before
