"""Jobs, schedules and webhooks, and what is to be delivered, on the simulated disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from stepflow_runtime.ports import Delivery, Entry, Key


class MountedRegistry:
    """The registry of one life of a runtime: it is as slow, as full and as dead as the disk.

    Args:
        seek: Awaited before each write.
        inner: Reads and writes.
    """

    def __init__(self, seek: Callable[[], Awaitable[None]], inner: Any) -> None:
        self._seek = seek
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def add(self, entries: Sequence[Entry]) -> bool:
        await self._seek()
        added: bool = await self._inner.add(entries)
        return added

    async def save(self, entries: Sequence[Entry], removed: Sequence[Key] = ()) -> None:
        await self._seek()
        await self._inner.save(entries, removed)


class MountedDeliveries:
    """The outbox of deliveries in one life of a runtime; see `MountedRegistry`."""

    def __init__(self, seek: Callable[[], Awaitable[None]], inner: Any) -> None:
        self._seek = seek
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def note(self, deliveries: Sequence[Delivery]) -> None:
        await self._seek()
        await self._inner.note(deliveries)
