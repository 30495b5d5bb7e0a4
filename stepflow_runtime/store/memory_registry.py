"""Entries of the registry and deliveries of webhooks in dictionaries: the part of the memory store beside runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Sequence

from protocol.automation import DeliveryState
from stepflow_runtime.ports import Delivery, DeliveryFilter, Entry, Key, Kind


class MemoryRegistry:
    """Implements `ports.Registry`."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}

    async def add(self, entries: Sequence[Entry]) -> bool:
        if any((entry.kind, entry.id) in self._entries for entry in entries):
            return False
        await self.save(entries)
        return True

    async def save(self, entries: Sequence[Entry], removed: Sequence[Key] = ()) -> None:
        self._entries.update(((entry.kind, entry.id), entry) for entry in entries)
        for key in removed:
            self._entries.pop(key, None)

    async def entry(self, kind: Kind, id: str) -> Entry | None:
        return self._entries.get((kind, id))

    async def entries(self, kind: Kind, before: str | None, limit: int) -> list[Entry]:
        older = [entry for entry in self._of(kind) if before is None or entry.id < before]
        return older[::-1][:limit]

    async def active(self, kind: Kind) -> list[Entry]:
        return [entry for entry in self._of(kind) if entry.is_active]

    def _of(self, kind: Kind) -> list[Entry]:
        return sorted((entry for entry in self._entries.values() if entry.kind is kind), key=lambda entry: entry.id)


class MemoryDeliveries:
    """Implements `ports.Deliveries`. What is given out are copies."""

    def __init__(self) -> None:
        self._deliveries: dict[str, Delivery] = {}
        """By id, oldest first."""

    def add(self, deliveries: Iterable[Delivery]) -> None:
        """Takes in what came with a commit."""
        self._deliveries.update((delivery.delivery_id, copy.copy(delivery)) for delivery in deliveries)

    async def due(self, now_ms: int, busy: Collection[str], full: Collection[str], limit: int) -> list[Delivery]:
        pending = [d for d in self._pending(busy) if d.due_ms <= now_ms and d.webhook_id not in full]
        return [copy.copy(delivery) for delivery in sorted(pending, key=lambda d: d.due_ms)[:limit]]

    async def next_due_ms(self, busy: Collection[str]) -> int | None:
        return min((delivery.due_ms for delivery in self._pending(busy)), default=None)

    async def count_pending(self) -> int:
        return sum(1 for _ in self._pending(()))

    async def find(self, delivery_id: str) -> Delivery | None:
        return copy.copy(self._deliveries.get(delivery_id))

    async def select(self, where: DeliveryFilter, before: str | None, limit: int) -> list[Delivery]:
        found: list[Delivery] = []
        is_older = before is None
        for delivery in reversed(self._deliveries.values()):
            if is_older and len(found) < limit and _matches(delivery, where):
                found.append(copy.copy(delivery))
            is_older = is_older or delivery.delivery_id == before
        return found

    async def note(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.delivery_id in self._deliveries:
                self._deliveries[delivery.delivery_id] = copy.copy(delivery)

    async def forget(self, webhook_id: str) -> None:
        self._keep(lambda delivery: delivery.webhook_id != webhook_id)

    async def forget_delivered(self, before_ms: int) -> None:
        self._keep(lambda d: d.state is not DeliveryState.DELIVERED or (d.last_at_ms or 0) >= before_ms)

    def _pending(self, busy: Collection[str]) -> Iterable[Delivery]:
        return (
            delivery
            for delivery in self._deliveries.values()
            if delivery.state is DeliveryState.PENDING and delivery.delivery_id not in busy
        )

    def _keep(self, is_kept: Callable[[Delivery], bool]) -> None:
        self._deliveries = {id: delivery for id, delivery in self._deliveries.items() if is_kept(delivery)}


def _matches(delivery: Delivery, where: DeliveryFilter) -> bool:
    return (
        where.webhook_id in (None, delivery.webhook_id)
        and where.run_id in (None, delivery.run_id)
        and where.state in (None, delivery.state)
    )
