"""Jobs, schedules and webhooks through the SDK, with a whole runtime and a receiver on the loopback."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from standardwebhooks.webhooks import Webhook as OfficialWebhook

from component_sdk import Client, DeliveryState, RpcError, RunWebhookParams, connect, open_client
from component_sdk.automation import AutomationAccess
from component_sdk.sync import Client as BlockingClient
from stepflow_runtime.app.config import BUILTIN_ROUTE, BuiltinConfig, Config, Listen, SqliteStorage, WebhookConfig
from stepflow_runtime.app.opening import open_runtime

ECHO = {
    "name": "Echo",
    "steps": [{"id": "echo", "component": "/builtin/noop", "input": {"$input": "$"}}],
    "output": {"$input": "$"},
}


class Receiver:
    """Takes deliveries, checks their signatures with the official library, and answers."""

    def __init__(self) -> None:
        self.secret = ""
        self.bodies: list[Any] = []
        self.answers: list[int] = []
        self.came = trio.Event()
        self.url = ""

    async def handle(self, stream: trio.SocketStream) -> None:
        got = b""
        while b"\r\n\r\n" not in got:
            got += await stream.receive_some(65536)
        head, _, body = got.partition(b"\r\n\r\n")
        headers = {
            name.lower(): value for name, value in (line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        }
        while len(body) < int(headers["content-length"]):
            body += await stream.receive_some(65536)
        self.bodies.append(OfficialWebhook(self.secret).verify(body, headers))
        status = self.answers.pop(0) if self.answers else 204
        await stream.send_all(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
        self.came.set()
        self.came = trio.Event()

    async def wait(self, count: int) -> list[Any]:
        with trio.fail_after(20):
            while len(self.bodies) < count:
                await self.came.wait()
        return self.bodies


@asynccontextmanager
async def open_all(folder: Path) -> AsyncGenerator[tuple[Client, Receiver, str]]:
    config = Config(
        folder=folder,
        plugins={"builtin": BuiltinConfig()},
        routes=(BUILTIN_ROUTE,),
        storage=SqliteStorage(path=folder / "state.db"),
        listen=Listen(rpc="127.0.0.1:0"),
        webhooks=WebhookConfig(schemes=("http",), allow=("127.0.0.0/8",), retry_delays_ms=(1, 1)),
    )
    receiver = Receiver()
    async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
        address = await nursery.start(runtime.serve_tcp)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        receiver.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/hook"
        nursery.start_soon(trio.serve_listeners, receiver.handle, listeners)
        async with open_client(address) as client:
            yield client, receiver, address
        nursery.cancel_scope.cancel()


async def test_a_job_tells_a_webhook_of_each_of_its_runs(tmp_path: Path) -> None:
    async with open_all(tmp_path) as (client, receiver, _):
        receiver.answers = [500]
        webhook = await client.register_webhook(receiver.url, labels={"team": "x"})
        receiver.secret = webhook.secret or ""
        labels = {"labels": {"team": "x"}}
        with trio.fail_after(20):
            job = await client.submit_job(
                [{"flow": ECHO, "inputs": [1, 2], **labels}, {"flow": ECHO, "inputs": [], **labels}],  # type: ignore[typeddict-item]
                name="nightly",
                wait=True,
            )
        assert job.status == "success"
        bodies = await receiver.wait(3)
        told = [(body["type"], body["data"]["runId"], body["data"]["jobRunId"]) for body in bodies]
        assert set(told) == {("run.completed", run.run_id, job.job_run_id) for run in job.runs}
        listed = [run.run_id async for run in client.list_runs(job_run_id=job.job_run_id)]
        assert listed == [run.run_id for run in job.runs][::-1]
        assert (await client.get_job(job.job_run_id, wait=True)).status == "success"
        assert [found.job_run_id async for found in client.list_jobs()] == [job.job_run_id]
        assert (await client.cancel_job(job.job_run_id)).status == "success"
        with trio.fail_after(20):
            while [delivery async for delivery in client.list_deliveries(status="pending")]:
                await trio.lowlevel.checkpoint()  # the last answer has come, and is about to be noted
        deliveries = [delivery async for delivery in client.list_deliveries(webhook_id=webhook.webhook_id)]
        assert {delivery.status for delivery in deliveries} == {DeliveryState.DELIVERED}
        assert sorted(delivery.attempts for delivery in deliveries) == [1, 2]
        assert await client.redeliver(deliveries[0].delivery_id) == 1
        await receiver.wait(4)
        await client.delete_webhook(webhook.webhook_id)
        assert [found async for found in client.list_webhooks()] == []


async def test_a_run_has_a_webhook_of_its_own(tmp_path: Path) -> None:
    async with open_all(tmp_path) as (client, receiver, _):
        run = await client.submit_run(flow=ECHO, inputs=[1], wait=True, webhook=RunWebhookParams(receiver.url))
        assert run.webhook is not None
        receiver.secret = run.webhook.secret or ""
        (body,) = await receiver.wait(1)
        assert body["data"]["runId"] == run.run_id


async def test_a_schedule_fires(tmp_path: Path) -> None:
    async with open_all(tmp_path) as (client, receiver, _):
        webhook = await client.register_webhook(receiver.url, ["run.created"])
        receiver.secret = webhook.secret or ""
        schedule = await client.create_schedule("* * * * * *", ECHO, [1], catch_up_s=60)
        body = (await receiver.wait(1))[0]
        assert body["data"]["labels"] == {"scheduleId": schedule.schedule_id}
        assert (await client.pause_schedule(schedule.schedule_id)).paused
        assert (await client.unpause_schedule(schedule.schedule_id)).next_at is not None
        await client.delete_schedule(schedule.schedule_id)
        assert [found async for found in client.list_schedules()] == []


async def test_the_blocking_client_does_the_same(tmp_path: Path) -> None:
    async with open_all(tmp_path) as (_, _, address):

        def use() -> None:
            with connect(address) as client:
                job = client.submit_job([{"flow": ECHO, "inputs": [1]}], wait=True)
                assert client.get_job(job.job_run_id).status == "success"
                assert [found.job_run_id for found in client.list_jobs()] == [job.job_run_id]
                with pytest.raises(RpcError, match="there is no job"):
                    client.get_job("none")

        with trio.fail_after(20):
            await trio.to_thread.run_sync(use)


def test_the_blocking_client_lacks_nothing() -> None:
    methods = {name for name in vars(AutomationAccess) if not name.startswith("_")}
    assert methods <= set(vars(BlockingClient))


async def test_the_key_that_seals_secrets_lies_beside_the_database_for_its_owner_alone(tmp_path: Path) -> None:
    async with open_all(tmp_path) as (client, receiver, _):
        webhook = await client.register_webhook(receiver.url)
    secret = (webhook.secret or "").removeprefix("whsec_")
    assert secret
    assert (tmp_path / "state.db.key").stat().st_mode & 0o777 == 0o600
    check_files(tmp_path, secret)
    async with open_all(tmp_path) as (client, receiver, _):
        receiver.secret = webhook.secret or ""
        with pytest.raises(RpcError, match="scheme must be http"):
            await client.register_webhook("https://receiver.example/")
        assert [found.webhook_id async for found in client.list_webhooks()] == [webhook.webhook_id]


def check_files(folder: Path, secret: str) -> None:
    raw: bytes = msgspec.json.decode(f'"{secret}"', type=bytes)
    for path in folder.rglob("*"):
        content = path.read_bytes()
        assert secret.encode() not in content, path
        assert raw not in content, path
