"""The parts of a runtime that tell others about its runs, put together from its configuration."""

from __future__ import annotations

import os
import random
from functools import partial
from pathlib import Path

from msgspec import Struct

from stepflow_runtime.app.config import Config, SqliteStorage
from stepflow_runtime.app.sealing import KeyFileSealer
from stepflow_runtime.connect.connection import Connections
from stepflow_runtime.connect.destinations import parse_networks
from stepflow_runtime.connect.http_sender import HttpSender
from stepflow_runtime.model.signature import SECRET_BYTES
from stepflow_runtime.ports import Clock, Deliveries, Ids, Registry, Store
from stepflow_runtime.services.automation.delivering import DeliveryPolicy, DeliveryService
from stepflow_runtime.services.automation.subscriptions import Subscriptions
from stepflow_runtime.services.automation.webhooks import WebhookService


class WebhookParts(Struct, frozen=True):
    """Who knows the webhooks, who answers for them, who sends; and what seals their secrets."""

    subscriptions: Subscriptions
    service: WebhookService
    delivery: DeliveryService
    sealer: KeyFileSealer


def make_webhooks(
    config: Config,
    store: Store,
    registry: Registry,
    deliveries: Deliveries,
    connections: Connections,
    clock: Clock,
    ids: Ids,
) -> WebhookParts:
    """The parts, not yet running.

    Raises:
        ValueError: The configuration names something that is no network.
    """
    wanted = config.webhooks
    sender = HttpSender(
        timeout_s=wanted.timeout_ms / 1000, schemes=wanted.schemes, allowed=parse_networks(wanted.allow)
    )
    sealer = KeyFileSealer(_find_key_file(config))
    subscriptions = Subscriptions()
    service = WebhookService(
        subscriptions,
        store,
        registry,
        deliveries,
        connections,
        sender,
        sealer,
        clock,
        ids,
        partial(os.urandom, SECRET_BYTES),
        wanted.max_webhooks,
    )
    policy = DeliveryPolicy(
        wanted.retry_delays_ms, wanted.max_concurrency, wanted.max_concurrency_per_webhook, wanted.keep_delivered_ms
    )
    delivery = DeliveryService(deliveries, service, sender, sealer, clock, policy, random.random)
    subscriptions.wake = delivery.wake
    return WebhookParts(subscriptions, service, delivery, sealer)


def _find_key_file(config: Config) -> Path | None:
    """What is configured, else a file beside the database; none for a state that ends with the process."""
    if config.webhooks.key_file is not None or not isinstance(config.storage, SqliteStorage):
        return config.webhooks.key_file
    return config.storage.path.with_name(config.storage.path.name + ".key")
