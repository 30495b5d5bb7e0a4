"""Reads of a store that has threads of its own: what they say was so at some moment between question and answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any, Final

import trio

from protocol.errand import in_task

_OF_RUNS: Final = ("run", "runs", "unfinished", "children", "child", "children_of_step", "run_by_idempotency_key")
_OF_JOURNALS: Final = ("journal", "journal_at_completion", "tree_journal", "snapshot", "inputs", "chunks", "outbox")
_OF_BYPRODUCTS: Final = ("streams", "stream", "writes", "writes_of", "has_write", "checkpoint", "count_checkpoints")
_OF_THE_REST: Final = ("get", "artifacts", "entry", "entries", "active", "due", "next_due_ms", "find", "select")
READS: Final = frozenset((*_OF_RUNS, *_OF_JOURNALS, *_OF_BYPRODUCTS, *_OF_THE_REST))
"""Of all ports of a store."""


class Hopping:
    """A part of a store, of which each read takes a few turns of the loop.

    Args:
        chance: Decides how many.
        inner: What is so.
    """

    def __init__(self, chance: Random, inner: Any) -> None:
        self._chance = chance
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return partial(self._read, found) if name in READS else found

    async def _read(self, read: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        await self._hop()
        answer = await read(*args)
        await self._hop()
        return answer

    async def _hop(self) -> None:
        for _ in range(self._chance.randrange(3)):
            await in_task()
            await trio.lowlevel.checkpoint()
