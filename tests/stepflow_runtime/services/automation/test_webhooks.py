"""Webhooks: what is told to whom, signed, tried again, given up, sent once more; and who may see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
import trio
from standardwebhooks.webhooks import Webhook as OfficialWebhook

from protocol.automation import (
    DeliveryInfo,
    DeliveryState,
    ListDeliveriesParams,
    ListWebhooksParams,
    RedeliverParams,
    RegisterWebhookParams,
    WebhookParams,
)
from protocol.errors import ErrorCode, RpcError
from protocol.runs import RegisteredWebhook, RunParams, RunWebhookParams
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.model.signature import read_secret, sign, write_secret
from stepflow_runtime.ports import Execution, SendFailed, StoreUnavailable
from stepflow_runtime.store.memory import open_memory
from tests.stepflow_runtime.engine.world import (
    BOOM,
    ONE,
    SECRET,
    World,
    expect_code,
    flow,
    hold,
    memory_world,
    open_world,
    settle_down,
    step,
)

URL = "https://receiver.example/hook"
TOLD = write_secret(SECRET)
DAY_S = 24 * 3600


async def register(
    world: World, *events: str, connection: Connection | None = None, **params: Any
) -> RegisteredWebhook:
    given = RegisterWebhookParams(**{"url": URL, "events": list(events) or ["run.completed"], **params})
    return await world.webhooks.register(given, connection or world.client)


async def listed(world: World, **where: Any) -> list[DeliveryInfo]:
    return (await world.webhooks.deliveries(ListDeliveriesParams(**where), world.client)).deliveries


def told(world: World) -> list[str]:
    return [body["type"] for _, _, body in world.sender.sent]


def failing(*statuses: int | None) -> Callable[[str, dict[str, str]], Awaitable[None]]:
    """Receivers that answer so, try by try, and then accept."""
    left = list(statuses)

    async def answer(url: str, headers: dict[str, str]) -> None:
        await trio.lowlevel.checkpoint()
        if left:
            status = left.pop(0)
            raise SendFailed(f"the receiver answered {status}", status)

    return answer


# --- what is told ---


async def test_the_end_of_a_run_is_told_once_and_signed(autojump_clock: object) -> None:
    async with memory_world() as world:
        webhook = await register(world)
        assert webhook.secret == TOLD
        status = await world.submit(ONE, [1, 2], wait=True, labels={"a": "b"}, flow_label="nightly")
        await settle_down()
        ((url, headers, body),) = world.sender.sent
        assert url == URL
        assert body == {
            "type": "run.completed",
            "timestamp": status.completed_at,
            "data": {
                "runId": status.run_id,
                "seq": body["data"]["seq"],
                "details": {"status": "success"},
                "flowId": status.flow_id,
                "flowName": "One step",
                "flowLabel": "nightly",
                "labels": {"a": "b"},
            },
        }
        at_s = int(headers["webhook-timestamp"])
        assert at_s == world.clock.wall_ms() // 1000
        assert headers["webhook-signature"] == sign(SECRET, headers["webhook-id"], at_s, msgspec.json.encode(body))
        (info,) = await listed(world)
        assert (info.delivery_id, info.status, info.attempts) == (headers["webhook-id"], DeliveryState.DELIVERED, 1)


def test_the_official_library_accepts_our_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    body, at_s = b'{"type":"run.completed"}', int(time.time())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at_s),
        "webhook-signature": sign(SECRET, "msg_1", at_s, body),
    }
    assert OfficialWebhook(TOLD).verify(body, headers) == {"type": "run.completed"}
    assert read_secret(TOLD) == SECRET


async def test_only_what_was_asked_for_is_told(autojump_clock: object) -> None:
    async with memory_world(lambda execution: BOOM if execution.input == b"2" else execution.input) as world:
        await register(world, "run.created", "item.completed", "step.started")
        await world.submit(flow(step("a")), [1, 2], wait=True)
        await settle_down()
        assert sorted(told(world)) == ["item.completed"] * 2 + ["run.created"] + ["step.started"] * 2
        ends = {
            body["data"]["itemIndex"]: body["data"]["details"]
            for _, _, body in world.sender.sent
            if "item" in body["type"]
        }
        assert ends[0] == {"outcome": "success"}
        assert (ends[1]["outcome"], ends[1]["error"]["code"]) == ("failed", "COMPONENT_FAILED")


@pytest.mark.parametrize(
    ("narrow", "count"),
    [
        ({}, 1),
        ({"flow_name": "One step"}, 1),
        ({"flow_name": "other"}, 0),
        ({"labels": {"a": "b"}}, 1),
        ({"labels": {"a": "c"}}, 0),
        ({"flow_id": "blake3:" + "0" * 64}, 0),
    ],
)
async def test_a_webhook_is_narrowed(autojump_clock: object, narrow: dict[str, Any], count: int) -> None:
    async with memory_world() as world:
        await register(world, **narrow)
        await world.submit(ONE, [1], wait=True, labels={"a": "b"})
        await settle_down()
        assert len(told(world)) == count


@pytest.mark.parametrize("included", [False, True])
async def test_sub_runs_are_told_of_only_if_that_is_wanted(autojump_clock: object, included: bool) -> None:
    worlds: list[World] = []

    def behave(execution: Execution) -> Any:
        async def spawn(execution: Execution) -> bytes:
            await worlds[0].submit(ONE, [1], by=execution, wait=True)
            return b"1"

        return spawn if execution.step_id == "spawn" else execution.input

    async with memory_world(behave, before_start=worlds.append) as world:
        await register(world, include_sub_runs=included)
        await world.submit(flow(step("spawn")), [1], wait=True)
        await settle_down()
        assert len(told(world)) == 1 + included


async def test_while_nobody_wants_it_nothing_is_written(autojump_clock: object) -> None:
    async with memory_world() as world:
        await register(world, flow_name="other")
        await world.submit(ONE, range(5), wait=True)
        assert not any(write.deliveries for group in world.store.commits for write in group)


async def test_an_event_and_its_deliveries_are_one_write(autojump_clock: object) -> None:
    async with memory_world() as world:
        await register(world)
        await world.submit(ONE, [1], wait=True)
        (write,) = [write for group in world.store.commits for write in group if write.deliveries]
        assert type(write.events[-1]).__name__ == "RunCompleted"


# --- a run's own webhook ---


async def test_a_run_has_a_webhook_of_its_own(autojump_clock: object) -> None:
    async with memory_world() as world:
        status = await world.submit(ONE, [1], wait=True, webhook=RunWebhookParams(URL))
        assert status.webhook == RegisteredWebhook(status.run_id, TOLD)
        await world.submit(ONE, [2], wait=True)
        await settle_down()
        assert told(world) == ["run.completed"]
        assert (await world.get(status.run_id)).webhook is None, "its secret is told once"
        (info,) = await listed(world, webhook_id=status.run_id)
        assert info.status is DeliveryState.DELIVERED
        await world.runs.delete(RunParams(status.run_id), world.client)
        assert not await listed(world)


async def test_a_run_that_is_found_again_has_the_webhook_that_it_had(autojump_clock: object) -> None:
    async with memory_world() as world:
        params: dict[str, Any] = {"idempotency_key": "k", "wait": True}
        first = await world.submit(ONE, [1], webhook=RunWebhookParams(URL, secret=TOLD), **params)
        assert first.webhook == RegisteredWebhook(first.run_id, None), "who brought the secret knows it"
        again = await world.submit(ONE, [1], webhook=RunWebhookParams(URL + "/other"), **params)
        assert (again.deduplicated, again.webhook) == (True, None)
        await settle_down()
        assert [url for url, _, _ in world.sender.sent] == [URL]


# --- tried again ---


async def test_a_delivery_is_tried_again_with_the_same_id(autojump_clock: object) -> None:
    async with memory_world() as world:
        world.sender.answer = failing(500, None)
        await register(world)
        began = trio.current_time()
        await world.submit(ONE, [1], wait=True)
        await settle_down()
        (info,) = await listed(world, status=DeliveryState.PENDING)
        assert (info.attempts, info.last_error) == (1, "the receiver answered 500")
        assert info.due_at is not None
        await trio.sleep(100)
        (info,) = await listed(world)
        assert (info.status, info.attempts, info.last_error) == (DeliveryState.DELIVERED, 3, None)
        assert len({headers["webhook-id"] for _, headers, _ in world.sender.sent}) == 1
        times = [int(headers["webhook-timestamp"]) for _, headers, _ in world.sender.sent]
        assert [at - times[0] for at in times] == pytest.approx([0, 1, 67], abs=1), "each delay, and half the jitter"
        assert trio.current_time() - began >= 67


async def test_a_delivery_that_never_arrives_is_given_up_and_kept(autojump_clock: object) -> None:
    async with memory_world() as world:
        world.sender.answer = failing(*[503] * 3)
        webhook = await register(world)
        await world.submit(ONE, [1], wait=True)
        await trio.sleep(1000)
        (dead,) = await listed(world, status=DeliveryState.DEAD)
        assert world.delivery.tries == {DeliveryState.PENDING: 2, DeliveryState.DEAD: 1}
        assert await world.delivery.count_pending() == world.delivery.under_way == 0
        assert (dead.attempts, dead.due_at) == (3, None)
        await trio.sleep(12 * DAY_S)
        assert len(world.sender.sent) == 3
        again = await world.webhooks.redeliver(RedeliverParams(webhook_id=webhook.webhook_id), world.client)
        assert again.redelivered == 1
        await settle_down()
        (info,) = await listed(world)
        assert (info.delivery_id, info.status) == (dead.delivery_id, DeliveryState.DELIVERED)
        await world.webhooks.redeliver(RedeliverParams(delivery_id=dead.delivery_id), world.client)
        await settle_down()
        assert len(world.sender.sent) == 5, "what has arrived can be sent again too"
        again = await world.webhooks.redeliver(RedeliverParams(webhook_id=webhook.webhook_id), world.client)
        assert again.redelivered == 0


async def test_a_receiver_that_is_gone_is_not_asked_again(autojump_clock: object) -> None:
    async with memory_world() as world:
        world.sender.answer = failing(410)
        await register(world)
        await world.submit(ONE, [1], wait=True)
        await trio.sleep(1000)
        (info,) = await listed(world)
        assert (info.status, info.attempts) == (DeliveryState.DEAD, 1)


async def test_a_slow_receiver_keeps_no_other_waiting(autojump_clock: object) -> None:
    async def answer(url: str, headers: dict[str, str]) -> None:
        if "slow" in url:
            await trio.sleep(15)
            raise SendFailed("no answer")

    async with memory_world() as world:
        world.sender.answer = answer
        await register(world, url=URL + "/slow")
        await register(world, url=URL + "/quick")
        for number in range(10):
            await world.submit(ONE, [number], wait=True)
        await settle_down()
        urls = [url.rpartition("/")[2] for url, _, _ in world.sender.sent]
        assert (urls.count("slow"), urls.count("quick")) == (2, 10)


async def test_another_runtime_goes_on_delivering(autojump_clock: object) -> None:
    async with open_memory() as store:
        async with open_world(store) as world:
            world.sender.answer = failing(500)
            await register(world)
            await world.submit(ONE, [1], wait=True)
            await settle_down()
            (first,) = [headers["webhook-id"] for _, headers, _ in world.sender.sent]
        async with open_world(store, boot=2) as world:
            await trio.sleep(10)
            assert [headers["webhook-id"] for _, headers, _ in world.sender.sent] == [first]
            await world.submit(ONE, [2], wait=True)
            await settle_down()
            assert len(world.sender.sent) == 2, "webhooks stay registered"


async def test_what_cannot_be_noted_is_noted_later(autojump_clock: object) -> None:
    async with memory_world() as world:
        await register(world)
        await world.submit(ONE, [1])
        refusals = 3

        async def refuse(number: int) -> None:
            nonlocal refusals
            if world.sender.sent and refusals:
                refusals -= 1
                raise StoreUnavailable("full")

        world.store.before = refuse
        await trio.sleep(30)
        assert [info.status for info in await listed(world)] == [DeliveryState.DELIVERED]
        assert len(world.sender.sent) == 1


async def test_what_was_delivered_long_ago_is_forgotten(autojump_clock: object) -> None:
    async with memory_world() as world:
        await register(world)
        await world.submit(ONE, [1], wait=True)
        await trio.sleep(6 * DAY_S)
        assert len(await listed(world)) == 1
        await trio.sleep(2 * DAY_S)
        assert not await listed(world)


async def test_a_jump_of_the_clock_sends_nothing_twice(autojump_clock: object) -> None:
    async with memory_world() as world:
        world.sender.answer = failing(500)
        await register(world)
        await world.submit(ONE, [1], wait=True)
        await settle_down()
        world.clock.jump(3_600_000)
        await trio.sleep(60)
        assert len(world.sender.sent) == 2, "the second try was due, and noticed"
        world.clock.jump(-7_200_000)
        await trio.sleep(60)
        assert len(world.sender.sent) == 2


# --- registering ---


async def test_a_webhook_is_listed_without_its_secret_and_deleted(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        webhook = await register(world, "run.completed", "run.created", labels={"a": "b"})
        run = await world.submit(ONE, [1], labels={"a": "b"})
        await settle_down()
        page = await world.webhooks.list_webhooks(ListWebhooksParams(), world.client)
        (found,) = page.webhooks
        assert (found.webhook_id, found.url, found.labels) == (webhook.webhook_id, URL, {"a": "b"})
        assert found.events == ["run.completed", "run.created"]
        assert "sealed" not in repr(page)
        assert TOLD not in repr(page)
        await world.webhooks.delete(WebhookParams(webhook.webhook_id), world.client)
        assert not (await world.webhooks.list_webhooks(ListWebhooksParams(), world.client)).webhooks
        assert not await listed(world)
        await world.cancel(run.run_id, grace_ms=0)
        await settle_down()
        assert told(world) == ["run.created"]


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"url": "http://receiver.example/"}, "$.url"),
        ({"events": ["run.finished"]}, "$.events"),
        ({"secret": "whsec_short"}, "$.secret"),
        ({"secret": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}, "$.secret"),
        ({"secret": "whsec_" + "A" * 400}, "$.secret"),
    ],
)
async def test_a_webhook_that_cannot_be_is_refused(params: dict[str, Any], path: str) -> None:
    async with memory_world() as world:
        with pytest.raises(RpcError) as caught:
            await register(world, **params)
        error = expect_code(caught.value, ErrorCode.INVALID_PARAMS)
        assert error.data["path"] == path
        assert params.get("secret", "whsec_short") not in error.message
        with pytest.raises(RpcError) as caught:
            await world.submit(ONE, [1], webhook=RunWebhookParams(**{"url": URL, **params}))
        expect_code(caught.value, ErrorCode.INVALID_PARAMS)
        assert not (await world.webhooks.list_webhooks(ListWebhooksParams(), world.client)).webhooks


async def test_too_many_webhooks_are_refused() -> None:
    async with memory_world() as world:
        for _ in range(5):
            await register(world)
        with pytest.raises(RpcError) as caught:
            await register(world)
        assert expect_code(caught.value, ErrorCode.LIMIT_EXCEEDED).data["limit"] == "maxWebhooks"


async def test_what_is_not_there_is_not_found() -> None:
    async with memory_world() as world:
        for refused in (
            world.webhooks.delete(WebhookParams("none"), world.client),
            world.webhooks.redeliver(RedeliverParams("none"), world.client),
            world.webhooks.redeliver(RedeliverParams(webhook_id="none"), world.client),
        ):
            with pytest.raises(RpcError) as caught:
                await refused
            assert expect_code(caught.value, ErrorCode.NOT_FOUND).data["kind"] == "webhook"
        for params in (RedeliverParams(), RedeliverParams("a", "b")):
            with pytest.raises(RpcError) as caught:
                await world.webhooks.redeliver(params, world.client)
            expect_code(caught.value, ErrorCode.INVALID_PARAMS)


async def test_a_component_server_is_told_of_its_own_runs_and_sees_its_own_webhooks(autojump_clock: object) -> None:
    async with memory_world() as world:
        ours, theirs = Connection("a", "server", "a"), Connection("b", "server", "b")
        webhook = await register(world, connection=ours)
        await world.submit(ONE, [1], wait=True)
        await settle_down()
        assert not world.sender.sent, "a run that others submitted"
        assert not (await world.webhooks.list_webhooks(ListWebhooksParams(), theirs)).webhooks
        assert len((await world.webhooks.list_webhooks(ListWebhooksParams(), ours)).webhooks) == 1
        with pytest.raises(RpcError) as caught:
            await world.webhooks.delete(WebhookParams(webhook.webhook_id), theirs)
        expect_code(caught.value, ErrorCode.NOT_FOUND)
        await register(world)
        await world.submit(ONE, [2], wait=True)
        await settle_down()
        assert not (await world.webhooks.deliveries(ListDeliveriesParams(), theirs)).deliveries


async def test_a_webhook_that_is_asked_for_again_is_there_once_with_its_secret() -> None:
    async with memory_world() as world:
        made = await register(world, request_id="mine")
        again = await register(world, request_id="mine")
        assert (again.webhook_id, again.secret, again.deduplicated) == (made.webhook_id, made.secret, True)
        own = await register(world, request_id="own", secret=TOLD)
        assert own.webhook_id != made.webhook_id
        assert (await register(world, request_id="own", secret=TOLD)).secret is None, "who brought it has it"
        with pytest.raises(RpcError) as caught:
            await register(world, "run.created", request_id="mine")
        assert expect_code(caught.value, ErrorCode.CONFLICT).data["webhookId"] == made.webhook_id
        await world.webhooks.delete(WebhookParams(made.webhook_id), world.client)
        assert (await register(world, request_id="mine")).webhook_id != made.webhook_id


async def test_an_id_of_a_request_is_that_of_who_asks() -> None:
    async with memory_world() as world:
        made = await register(world, request_id="mine")
        theirs = await register(world, request_id="mine", connection=Connection("a", "server", "a"))
        assert theirs.webhook_id != made.webhook_id
