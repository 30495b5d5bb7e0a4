"""Jobs, schedules and webhooks on the simulated disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from stepflow_runtime.ports import Entry, Key, Registry


class MountedRegistry:
    """The registry of one life of a runtime: it is as slow, as full and as dead as the disk.

    Args:
        seek: Awaited before each write.
        inner: What is so.
    """

    def __init__(self, seek: Callable[[], Awaitable[None]], inner: Registry) -> None:
        self._seek = seek
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def add(self, entries: Sequence[Entry]) -> bool:
        await self._seek()
        return await self._inner.add(entries)

    async def save(self, entries: Sequence[Entry], removed: Sequence[Key] = ()) -> None:
        await self._seek()
        await self._inner.save(entries, removed)
