"""Webhooks as peers see them: registered, listed, deleted, their deliveries (PROTOCOL §4, `webhooks/*`).

What a webhook is told is decided by `subscriptions`; `delivering` carries it out, and asks here where to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from protocol.automation import (
    DeliveryInfo,
    DeliveryState,
    ListDeliveriesParams,
    ListDeliveriesResult,
    ListWebhooksParams,
    ListWebhooksResult,
    RedeliverParams,
    RedeliverResult,
    RegisterWebhookParams,
    Webhook,
    WebhookParams,
)
from protocol.errors import ErrorCode, RpcError
from protocol.runs import RegisteredWebhook, RunWebhookParams
from protocol.types import Empty
from stepflow_runtime.connect.connection import Connection, Connections
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.signature import read_secret, write_secret
from stepflow_runtime.model.spec import RunWebhook
from stepflow_runtime.ports import (
    Clock,
    Deliveries,
    Delivery,
    DeliveryFilter,
    Entry,
    Ids,
    Kind,
    Registry,
    Sealer,
    Sender,
    Store,
    StoreUnavailable,
)
from stepflow_runtime.services.automation.delivering import Target
from stepflow_runtime.services.automation.subscriptions import Subscriptions, WebhookRecord, read_webhook_entry
from stepflow_runtime.services.events.public import read_types
from stepflow_runtime.services.refusal import add_certainly, refuse_unstored
from stepflow_runtime.services.requests import Request, find_made, read_request
from stepflow_runtime.services.status import decode_text_cursor, encode_cursor, format_time
from stepflow_runtime.services.submission import limit_exceeded
from stepflow_runtime.services.visibility import Visibility

DEFAULT_LIMIT: Final = 100
DEFAULT_EVENTS: Final = ["run.completed"]
"""What the webhook of a run is told unless it says."""


class WebhookAdmission(Struct, frozen=True):
    """A webhook of a run: what of it is stored, and its secret if the runtime made it."""

    kept: RunWebhook
    secret: str | None


class WebhookService:
    """Registers webhooks and tells about them. Implements `delivering.Targets`.

    Args:
        subscriptions: Is kept up to date.
        store, registry, deliveries: Hold runs, webhooks and what they are told.
        connections: Tells which execution a request belongs to.
        sender: Says which URLs can be sent to.
        sealer: Keeps secrets unreadable in the store.
        clock, ids: The world.
        make_secret: Gives what nobody can guess, 32 bytes.
        max_webhooks: Registered at once.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        store: Store,
        registry: Registry,
        deliveries: Deliveries,
        connections: Connections,
        sender: Sender,
        sealer: Sealer,
        clock: Clock,
        ids: Ids,
        make_secret: Callable[[], bytes],
        max_webhooks: int,
    ) -> None:
        self._subscriptions = subscriptions
        self._store = store
        self._registry = registry
        self._deliveries = deliveries
        self._connections = connections
        self._visibility = Visibility(connections)
        self._sender = sender
        self._sealer = sealer
        self._clock = clock
        self._ids = ids
        self._make_secret = make_secret
        self._max_webhooks = max_webhooks

    async def load(self) -> None:
        """Takes up what is registered; before anything is executed."""
        for entry in await self._registry.active(Kind.WEBHOOK):
            self._subscriptions.add(read_webhook_entry(entry))

    async def target(self, delivery: Delivery) -> Target | None:
        webhook = self._subscriptions.find(delivery.webhook_id)
        if webhook is not None:
            return Target(webhook.url, webhook.sealed)
        record = await self._store.run(RunId(delivery.webhook_id))
        own = None if record is None else record.spec.webhook
        return None if own is None else Target(own.url, own.sealed)

    # --- webhooks ---

    async def register(self, params: RegisterWebhookParams, connection: Connection) -> RegisteredWebhook:
        """`webhooks/register`.

        Raises:
            RpcError: `INVALID_PARAMS` for a URL that is not sent to, an unknown event or a bad secret;
                `LIMIT_EXCEEDED`; `CONFLICT` if its `request_id` was used for another one.
        """
        self._connections.find_execution(connection, params.observability)
        request = read_request(Kind.WEBHOOK_KEY, params, connection.plugin or "")
        made = None if request is None else await self._find_made(request)
        if made is not None:
            secret = write_secret(self._sealer.unseal(made.sealed)) if params.secret is None else None
            return RegisteredWebhook(made.webhook_id, secret, deduplicated=True)
        admitted = self.admit(RunWebhookParams(params.url, params.events, params.secret))
        if len(self._subscriptions) >= self._max_webhooks:
            why = "too many webhooks are registered; delete those that nobody needs"
            raise limit_exceeded("maxWebhooks", self._max_webhooks, len(self._subscriptions) + 1, why)
        webhook = WebhookRecord(
            webhook_id=self._ids.run_id(),
            url=admitted.kept.url,
            events=admitted.kept.events,
            sealed=admitted.kept.sealed,
            flow_id=params.flow_id,
            flow_name=params.flow_name,
            labels=params.labels or {},
            include_sub_runs=bool(params.include_sub_runs),
            created_at_ms=self._clock.wall_ms(),
            created_by=connection.plugin,
            key=None if request is None else request.key,
        )
        entries = [Entry(Kind.WEBHOOK, webhook.webhook_id, msgspec.json.encode(webhook), is_active=True)]
        if request is not None:
            entries.append(request.make_key(webhook.webhook_id))
        try:
            is_new = await add_certainly(self._registry, entries)
        except StoreUnavailable as error:
            raise refuse_unstored("the webhook", error, may_wait=connection.role == "server") from error
        if not is_new:  # the same request came twice at a time, and the other one was first
            return await self.register(params, connection)
        self._subscriptions.add(webhook)
        return RegisteredWebhook(webhook.webhook_id, admitted.secret)

    async def _find_made(self, request: Request) -> WebhookRecord | None:
        """The webhook that a request made before."""
        webhook_id = await find_made(self._registry, request)
        entry = None if webhook_id is None else await self._registry.entry(Kind.WEBHOOK, webhook_id)
        return None if entry is None else read_webhook_entry(entry)

    def admit(self, params: RunWebhookParams) -> WebhookAdmission:
        """Checks a webhook, and makes its secret unless it brings one.

        Raises:
            RpcError: `INVALID_PARAMS`. The message never tells the secret.
        """
        try:
            self._sender.check_url(params.url)
        except ValueError as error:
            raise RpcError(ErrorCode.INVALID_PARAMS, f"the url is not sent to: {error}", path="$.url") from None
        events = sorted(read_types(params.events or DEFAULT_EVENTS))
        try:
            secret = self._make_secret() if params.secret is None else read_secret(params.secret)
        except ValueError as error:
            raise RpcError(ErrorCode.INVALID_PARAMS, str(error), path="$.secret") from None
        told = write_secret(secret) if params.secret is None else None
        return WebhookAdmission(RunWebhook(params.url, tuple(events), self._sealer.seal(secret)), told)

    async def list_webhooks(self, params: ListWebhooksParams, connection: Connection) -> ListWebhooksResult:
        """`webhooks/list`: newest first; those of single runs are not among them."""
        limit = params.limit or DEFAULT_LIMIT
        found = await self._registry.entries(Kind.WEBHOOK, decode_text_cursor(params.cursor), limit + 1)
        more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
        records = [read_webhook_entry(entry) for entry in found[:limit]]
        return ListWebhooksResult([_describe(record) for record in records if _may_see(connection, record)], more)

    async def delete(self, params: WebhookParams, connection: Connection) -> Empty:
        """`webhooks/delete`: with its deliveries. One that is under way may arrive still."""
        self._connections.find_execution(connection, params.observability)
        webhook = self._require(params.webhook_id, connection)
        keys = [] if webhook.key is None else [(Kind.WEBHOOK_KEY, webhook.key)]
        try:
            await self._registry.save([], removed=[(Kind.WEBHOOK, params.webhook_id), *keys])
            self._subscriptions.remove(params.webhook_id)
            await self._deliveries.forget(params.webhook_id)
        except StoreUnavailable as error:
            raise refuse_unstored("the deletion", error, may_wait=connection.role == "server") from error
        return Empty()

    # --- deliveries ---

    async def deliveries(self, params: ListDeliveriesParams, connection: Connection) -> ListDeliveriesResult:
        """`webhooks/deliveries`: newest first.

        Raises:
            RpcError: `RUN_NOT_FOUND` if a component server names a run that it does not see.
        """
        if params.run_id is not None and connection.role == "server":
            run = await self._store.run(RunId(params.run_id))
            self._visibility.require(connection, run, params.run_id, params.observability)
        limit = params.limit or DEFAULT_LIMIT
        where = DeliveryFilter(webhook_id=params.webhook_id, run_id=params.run_id, state=params.status)
        found = await self._deliveries.select(where, decode_text_cursor(params.cursor), limit + 1)
        more = encode_cursor(found[limit - 1].delivery_id) if len(found) > limit else None
        return ListDeliveriesResult(
            [_tell(delivery) for delivery in found[:limit] if await self._sees(connection, delivery)], more
        )

    async def redeliver(self, params: RedeliverParams, connection: Connection) -> RedeliverResult:
        """`webhooks/redeliver`: sends again at once, whatever became of it before, with the same `webhook-id`.

        Raises:
            RpcError: `NOT_FOUND`; `INVALID_PARAMS` unless exactly one of the two is given.
        """
        self._connections.find_execution(connection, params.observability)
        if (params.delivery_id is None) == (params.webhook_id is None):
            message = "give either deliveryId, for one, or webhookId, for all of a webhook that were given up"
            raise RpcError(ErrorCode.INVALID_PARAMS, message, path="$")
        if params.delivery_id is not None:
            found = await self._deliveries.find(params.delivery_id)
            if found is None or not await self._sees(connection, found):
                message = f"there is no delivery {params.delivery_id}"
                raise RpcError(ErrorCode.NOT_FOUND, message, kind="webhook", deliveryId=params.delivery_id)
            return await self._send_again([found], connection)
        assert params.webhook_id is not None
        self._require(params.webhook_id, connection)
        where = DeliveryFilter(webhook_id=params.webhook_id, state=DeliveryState.DEAD)
        count = 0
        while dead := await self._deliveries.select(where, None, DEFAULT_LIMIT):
            count += (await self._send_again(dead, connection)).redelivered
        return RedeliverResult(count)

    async def _send_again(self, deliveries: list[Delivery], connection: Connection) -> RedeliverResult:
        for delivery in deliveries:
            delivery.state, delivery.attempts, delivery.due_ms = DeliveryState.PENDING, 0, self._clock.wall_ms()
        try:
            await self._deliveries.note(deliveries)
        except StoreUnavailable as error:
            raise refuse_unstored("the wish", error, may_wait=connection.role == "server") from error
        self._subscriptions.announced()
        return RedeliverResult(len(deliveries))

    # --- who sees what ---

    def _require(self, webhook_id: str, connection: Connection) -> WebhookRecord:
        webhook = self._subscriptions.find(webhook_id)
        if webhook is None or not _may_see(connection, webhook):
            message = f"there is no webhook {webhook_id}"
            raise RpcError(ErrorCode.NOT_FOUND, message, kind="webhook", webhookId=webhook_id)
        return webhook

    async def _sees(self, connection: Connection, delivery: Delivery) -> bool:
        if connection.role != "server":
            return True
        webhook = self._subscriptions.find(delivery.webhook_id)
        if webhook is not None:
            return _may_see(connection, webhook)
        record = await self._store.run(RunId(delivery.webhook_id))
        return record is not None and record.spec.created_by is not None and record.spec.created_by == connection.plugin


def _may_see(connection: Connection, webhook: WebhookRecord) -> bool:
    """Clients see all webhooks; a component server those that its plugin registered."""
    return connection.role != "server" or (webhook.created_by is not None and webhook.created_by == connection.plugin)


def _describe(webhook: WebhookRecord) -> Webhook:
    return Webhook(
        webhook_id=webhook.webhook_id,
        url=webhook.url,
        events=list(webhook.events),
        flow_id=webhook.flow_id,
        flow_name=webhook.flow_name,
        labels=webhook.labels or None,
        include_sub_runs=webhook.include_sub_runs or None,
        created_at=format_time(webhook.created_at_ms),
        created_by=webhook.created_by,
    )


def _tell(delivery: Delivery) -> DeliveryInfo:
    is_pending = delivery.state is DeliveryState.PENDING
    return DeliveryInfo(
        delivery_id=delivery.delivery_id,
        webhook_id=delivery.webhook_id,
        run_id=delivery.run_id,
        type=delivery.type,
        status=delivery.state,
        attempts=delivery.attempts,
        created_at=format_time(delivery.created_at_ms),
        due_at=format_time(delivery.due_ms) if is_pending else None,
        last_attempt_at=None if delivery.last_at_ms is None else format_time(delivery.last_at_ms),
        last_error=delivery.last_error,
    )
