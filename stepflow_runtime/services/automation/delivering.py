"""Carries webhook deliveries out: what is due is sent, tried again later if it did not arrive, and given up at last.

Everything it knows lies in the store, so it goes on after a restart where it was. One task looks for what is due; a
bounded number of others send, of which no webhook takes more than its share. It knows nothing of HTTP.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

import trio
from msgspec import Struct

from protocol.automation import DeliveryState
from protocol.log import Logger
from stepflow_runtime.model.signature import sign
from stepflow_runtime.ports import Clock, Deliveries, Delivery, Sealer, Sender, SendFailed, StoreUnavailable
from stepflow_runtime.services.refusal import RETRY_MS

MAX_SLEEP_S: Final = 30.0
"""So long at most it sleeps: a wall clock that was set, or a machine that slept, is noticed then (FAULTS 33)."""

SWEEP_S: Final = 3600.0
"""How often what was delivered long ago is forgotten."""

GONE: Final = 410
"""The receiver wants nothing any more (Standard Webhooks)."""

JITTER: Final = 0.2
"""By how much of it, at most, a delay is longer than configured."""

log = Logger(__name__)


class DeliveryPolicy(Struct, frozen=True):
    """How deliveries are carried out; configurable under `webhooks`.

    Args:
        retry_delays_ms: Between a try and the next; after the last, a delivery is given up.
        max_concurrency: Deliveries under way at once.
        max_concurrency_per_webhook: Of one webhook.
        keep_delivered_ms: How long what was delivered is still listed.
    """

    retry_delays_ms: tuple[int, ...]
    max_concurrency: int = 16
    max_concurrency_per_webhook: int = 4
    keep_delivered_ms: int = 7 * 24 * 3_600_000


class Target(Struct, frozen=True):
    """Where a delivery goes, and the sealed secret that signs it."""

    url: str
    sealed: str


class Targets(Protocol):
    """Knows webhooks."""

    async def target(self, delivery: Delivery) -> Target | None:
        """`None` if the webhook was deleted."""
        ...


class DeliveryService:
    """Carries deliveries out.

    Args:
        deliveries: The outbox.
        targets: Where they go.
        sender: Sends them.
        sealer: Opens the secrets.
        clock: The world.
        policy: When, and how many.
        jitter: Between 0 and 1.

    Attributes:
        tries: How often something was sent, by what became of it; `PENDING` is tried again.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        targets: Targets,
        sender: Sender,
        sealer: Sealer,
        clock: Clock,
        policy: DeliveryPolicy,
        jitter: Callable[[], float],
    ) -> None:
        self._deliveries = deliveries
        self._targets = targets
        self._sender = sender
        self._sealer = sealer
        self._clock = clock
        self._policy = policy
        self._jitter = jitter
        self._busy: dict[str, str] = {}
        """The webhook of each delivery that is under way."""
        self.tries: Counter[DeliveryState] = Counter()
        self._news = trio.Event()

    @property
    def under_way(self) -> int:
        """Deliveries that are being sent."""
        return len(self._busy)

    async def count_pending(self) -> int:
        """Deliveries that are to be sent yet, those under way included."""
        return await self._deliveries.count_pending()

    def wake(self) -> None:
        """There may be something to deliver."""
        self._news.set()

    async def run(self) -> None:
        """Delivers until cancelled.

        Cancellation: what was under way is sent again by the next runtime.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._forget_old)
            while True:
                self._news = trio.Event()
                room = self._policy.max_concurrency - len(self._busy)
                for delivery in await self._find_due(room):
                    self._busy[delivery.delivery_id] = delivery.webhook_id
                    nursery.start_soon(self._carry_out, delivery)
                await self._sleep()

    async def _find_due(self, room: int) -> list[Delivery]:
        """What is to be sent now, with no webhook above its share."""
        if room <= 0:
            return []
        load, most = Counter(self._busy.values()), self._policy.max_concurrency_per_webhook
        full = [webhook_id for webhook_id, count in load.items() if count >= most]
        found: list[Delivery] = []
        for delivery in await self._deliveries.due(self._clock.wall_ms(), self._busy, full, room):
            if load[delivery.webhook_id] < most:
                load[delivery.webhook_id] += 1
                found.append(delivery)
        return found

    async def _sleep(self) -> None:
        """Until something is due, there is news, or something waits and a while has passed."""
        delay_s, due_ms = math.inf, None
        if len(self._busy) < self._policy.max_concurrency:
            due_ms = await self._deliveries.next_due_ms(self._busy)
        if due_ms is not None:
            wait_ms = due_ms - self._clock.wall_ms()
            if wait_ms > 0:  # else its webhook has enough under way, and the end of one of these is news
                delay_s = min(MAX_SLEEP_S, wait_ms / 1000)
        with trio.move_on_after(delay_s):
            await self._news.wait()

    async def _carry_out(self, delivery: Delivery) -> None:
        failure = await self._send(delivery)
        now_ms = self._clock.wall_ms()
        delivery.attempts += 1
        delivery.last_at_ms = now_ms
        delivery.last_error = None if failure is None else str(failure)
        if failure is None:
            delivery.state = DeliveryState.DELIVERED
        elif delivery.attempts > len(self._policy.retry_delays_ms) or failure.status == GONE:
            delivery.state = DeliveryState.DEAD
            log.warning("a webhook delivery is given up", delivery_id=delivery.delivery_id, reason=str(failure))
        else:
            delay_ms = self._policy.retry_delays_ms[delivery.attempts - 1]
            delivery.due_ms = now_ms + round(delay_ms * (1 + JITTER * self._jitter()))
        self.tries[delivery.state] += 1
        await self._note(delivery)
        del self._busy[delivery.delivery_id]
        self.wake()

    async def _send(self, delivery: Delivery) -> SendFailed | None:
        """Sends it once; tells why it did not arrive."""
        target = await self._targets.target(delivery)
        if target is None:
            return SendFailed("the webhook was deleted", GONE)
        try:
            secret = self._sealer.unseal(target.sealed)
        except ValueError as error:
            return SendFailed(str(error))
        at_s = self._clock.wall_ms() // 1000
        headers = {
            "content-type": "application/json",
            "webhook-id": delivery.delivery_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": sign(secret, delivery.delivery_id, at_s, delivery.body),
        }
        try:
            await self._sender.send(target.url, headers, delivery.body)
        except SendFailed as error:
            return error
        return None

    async def _note(self, delivery: Delivery) -> None:
        while True:
            try:
                return await self._deliveries.note([delivery])
            except StoreUnavailable:
                await trio.sleep(RETRY_MS / 1000)

    async def _forget_old(self) -> None:
        while True:
            try:
                await self._deliveries.forget_delivered(self._clock.wall_ms() - self._policy.keep_delivered_ms)
            except StoreUnavailable as error:
                log.warning("old webhook deliveries are not forgotten yet", reason=str(error))
            await trio.sleep(SWEEP_S)
