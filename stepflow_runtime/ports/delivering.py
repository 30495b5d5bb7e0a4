"""Webhook deliveries: the outbox that they lie in, who fills it, and who carries them out.

An event and its deliveries are written in one transaction (`RunWrite.deliveries`), so a committed event is delivered,
at least once. `connect/` sends, `services/` decides what to whom and when.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from protocol.automation import DeliveryState
from stepflow_runtime.model.events import AnyEvent
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.spec import RunSpec


class Delivery(Struct, kw_only=True):
    """One event for one webhook.

    Args:
        delivery_id: Is sent as `webhook-id`, the same with every try.
        type: Of the event.
        body: What is sent, JSON; it never changes.
        attempts: How often it was tried.
        due_ms: When it is tried next, if it is pending.
        last_at_ms: When it was tried last.
        last_error: What went wrong then.
    """

    delivery_id: str
    webhook_id: str
    run_id: RunId
    type: str
    created_at_ms: int
    body: bytes
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    due_ms: int = 0
    last_at_ms: int | None = None
    last_error: str | None = None


class DeliveryFilter(Struct, frozen=True, kw_only=True):
    """Which deliveries are meant; `None` does not restrict."""

    webhook_id: str | None = None
    run_id: str | None = None
    state: DeliveryState | None = None


class Deliveries(Protocol):
    """The outbox of deliveries. What is delivered or given up stays in it until it is forgotten."""

    async def due(self, now_ms: int, busy: Collection[str], full: Collection[str], limit: int) -> list[Delivery]:
        """Pending ones whose time has come, the most overdue first.

        Args:
            busy: Deliveries that are under way, by id: not these.
            full: Webhooks, by id, that have enough under way: none of theirs.
        """
        ...

    async def next_due_ms(self, busy: Collection[str]) -> int | None:
        """When the next one is due that is not under way."""
        ...

    async def count_pending(self) -> int: ...

    async def find(self, delivery_id: str) -> Delivery | None: ...

    async def select(self, where: DeliveryFilter, before: str | None, limit: int) -> list[Delivery]:
        """Newest first, those older than the delivery `before`."""
        ...

    async def note(self, deliveries: Sequence[Delivery]) -> None:
        """Writes how they stand now; durable when it returns. One that is gone stays gone."""
        ...

    async def forget(self, webhook_id: str) -> None:
        """Removes all of one webhook."""
        ...

    async def forget_delivered(self, before_ms: int) -> None:
        """Removes what was delivered before a time."""
        ...


class Announcer(Protocol):
    """Puts into a commit what of its events somebody has subscribed to."""

    def announce(self, spec: RunSpec, events: Sequence[AnyEvent], first_seq: int, at_ms: int) -> Sequence[Delivery]:
        """The deliveries of a run's events. Called for every commit: it costs nothing unless somebody subscribed."""
        ...

    def announced(self) -> None:
        """Deliveries are durable."""
        ...


class SendFailed(Exception):
    """A delivery did not arrive; the message says why.

    Args:
        message: A sentence for people.
        status: What the receiver answered, if it did.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Sender(Protocol):
    """Sends deliveries over HTTP, to nobody who must not be reached."""

    def check_url(self, url: str) -> None:
        """Refuses what can never be sent to.

        Raises:
            ValueError: The message says why, and what would be accepted.
        """
        ...

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        """Posts a body. Returns when it was accepted (2xx).

        Raises:
            SendFailed: It was not.

        Cancellation: it may have arrived.
        """
        ...


class Sealer(Protocol):
    """Keeps secrets that are stored unreadable in the store."""

    def seal(self, secret: bytes) -> str: ...

    def unseal(self, sealed: str) -> bytes:
        """The secret.

        Raises:
            ValueError: It was not sealed with this key.
        """
        ...
