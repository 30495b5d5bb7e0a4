"""The results and events of a run, page by page, each page waited for without polling.

Knows the order of things, not how they are asked for: `run` is above and gives it the requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from protocol.runs import EventsResult, ItemEntry, ResultOrder, RunEvent, RunState, RunStatus

TERMINAL: Final = frozenset({RunState.SUCCESS, RunState.FAILED, RunState.CANCELLED})


class EventPages:
    """Pages of a run's events, each waited for."""

    def __init__(
        self,
        get_events: Callable[[list[str] | None, str | None], Awaitable[EventsResult]],
        types: Sequence[str] | None,
    ) -> None:
        self._get_events = get_events
        self._types = None if types is None else list(types)
        self._cursor: str | None = None
        self.is_done = False

    async def fetch(self) -> list[RunEvent] | None:
        while not self.is_done:
            page = await self._get_events(self._types, self._cursor)
            self._cursor, self.is_done = page.next_cursor, page.done
            if page.events:
                return page.events
        return None


class ResultPages:
    """Pages of a run's results, each waited for.

    While the run goes on and has no further result, its events tell when there is one: they come in the order of the
    commits that end items, one for each result.
    """

    def __init__(
        self, get_page: Callable[[ResultOrder, int], Awaitable[RunStatus]], ends: EventPages, order: ResultOrder
    ) -> None:
        self._get_page = get_page
        self._ends = ends
        self._order = order
        self._offset = 0
        self._ended: set[int] = set()
        self._ended_count = 0

    async def fetch(self) -> list[ItemEntry] | None:
        while True:
            status = await self._get_page(self._order, self._offset)
            if page := self._take(status.results or []):
                return page
            if status.status in TERMINAL:
                return None
            await self._wait_next()

    def _take(self, results: list[ItemEntry]) -> list[ItemEntry]:
        """What follows without a gap on what was given before."""
        if self._order == ResultOrder.BY_COMPLETION:
            self._offset += len(results)
            return results
        count = 0
        for entry in results:
            if entry.item_index != self._offset:
                break
            self._offset += 1
            count += 1
        return results[:count]

    async def _wait_next(self) -> None:
        while not self._is_next_there() and not self._ends.is_done:
            for event in await self._ends.fetch() or []:
                if event.item_index is not None:
                    self._ended_count += 1
                    self._ended.add(event.item_index)

    def _is_next_there(self) -> bool:
        if self._order == ResultOrder.BY_COMPLETION:
            self._ended.clear()
            return self._ended_count > self._offset
        return self._offset in self._ended
