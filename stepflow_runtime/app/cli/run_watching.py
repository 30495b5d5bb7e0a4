"""Keeps what is drawn of a run current, at a cost that does not grow with the run, until the run has ended.

Its counts come a few times a second. States of items are asked for page by page, only where something may have changed,
and only so many a second; failures and sub-runs only as many as are shown.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Final

import trio
from rich.console import Console
from rich.live import Live

from protocol.link import Link
from protocol.methods import GET_RUN, ITEM_STATES, LIST_ITEMS, LIST_RUNS
from protocol.observing import STATE_LETTERS, ItemStatesParams, ItemStatesResult
from protocol.runs import (
    GetRunParams,
    ItemState,
    ListItemsParams,
    ListItemsResult,
    ListRunsParams,
    ListRunsResult,
    RunStatus,
)
from stepflow_runtime.app.cli.run_screen import MAX_ENTRIES, Failed, Scene
from stepflow_runtime.app.cli.watch import follow_run

REFRESH_S: Final = 0.5
"""Between two looks at items and sub-runs."""

PAGE_ITEMS: Final = 10_000
PAGES: Final = 4
"""So many pages of states are asked for at a look."""

PACE_S: Final = 10.0
"""The pace is that of so long."""

FRAMES: Final = 8
"""Drawn in a second, at most."""

_PENDING: Final = ord(STATE_LETTERS[ItemState.PENDING])
_OPEN: Final = tuple(
    STATE_LETTERS[state].encode() for state in (ItemState.PENDING, ItemState.RUNNING, ItemState.SUSPENDED)
)
_FAILED: Final = STATE_LETTERS[ItemState.FAILED].encode()


class Watcher:
    """Follows one run.

    Args:
        link: To the runtime.
        status: How the run is.
        now: Seconds, for its pace.
    """

    def __init__(self, link: Link, status: RunStatus, now: float) -> None:
        self._link = link
        self._run_id = status.run_id
        self._next_page = 0
        self._paces: deque[tuple[float, int]] = deque()
        self.scene = Scene(status, bytearray())
        self.note(status, now)

    def note(self, status: RunStatus, now: float) -> None:
        """The run is like this now."""
        items = status.items
        self.scene.status = status
        self.scene.states.extend([_PENDING] * (items.total - len(self.scene.states)))
        self._paces.append((now, items.success + items.failed + items.cancelled))
        while now - self._paces[0][0] > PACE_S:
            self._paces.popleft()
        (began, before), (_, after) = self._paces[0], self._paces[-1]
        self.scene.rate = (after - before) / (now - began) if after > before and now > began else None

    async def look(self) -> None:
        """Looks at items and sub-runs once."""
        await self._look_at_items()
        await self._look_at_failures()
        children: ListRunsResult = await self._link.call(
            LIST_RUNS, ListRunsParams(parent_run_id=self._run_id, limit=MAX_ENTRIES)
        )
        self.scene.children, self.scene.has_more_children = children.runs, children.next_cursor is not None

    async def _look_at_items(self) -> None:
        """Asks for the next pages that may have changed. Items begin in order: after one that none began, none did."""
        states = self.scene.states
        count = math.ceil(len(states) / PAGE_ITEMS)
        in_turn = [(self._next_page + step) % count for step in range(count)]
        pages = [page for page in in_turn if self._is_open(page)][:PAGES]
        for page in pages:
            found: ItemStatesResult = await self._link.call(
                ITEM_STATES, ItemStatesParams(self._run_id, page * PAGE_ITEMS, PAGE_ITEMS)
            )
            letters = found.states.encode()
            states[found.start_index : found.start_index + len(letters)] = letters
            self._next_page = page + 1
            if letters.count(_PENDING) == len(letters):
                self._next_page = 0
                return

    def _is_open(self, page: int) -> bool:
        """Whether one of its items has not ended, as far as is known."""
        letters = self.scene.states[page * PAGE_ITEMS : (page + 1) * PAGE_ITEMS]
        return any(letter in letters for letter in _OPEN)

    async def _look_at_failures(self) -> None:
        known = {failed.item_index for failed in self.scene.failures}
        index = -1
        while len(known) < MAX_ENTRIES and (index := self.scene.states.find(_FAILED, index + 1)) >= 0:
            if index not in known:
                known.add(index)
                self.scene.failures.append(await self._find_failure(index))

    async def _find_failure(self, index: int) -> Failed:
        params = ListItemsParams(self._run_id, limit=1, start_index=index)
        found: ListItemsResult = await self._link.call(LIST_ITEMS, params)
        result: Any = found.items[0].result if found.items else None
        if result is None or result.error is None:
            return Failed(index, "", "")
        return Failed(index, result.error.code, result.error.message)


async def watch_live(link: Link, run_id: str, console: Console) -> RunStatus:
    """Draws a run until it has ended, and leaves nothing of the drawing behind.

    Returns:
        Its last status.

    Cancellation: the run goes on.
    """
    status: RunStatus = await link.call(GET_RUN, GetRunParams(run_id))
    watcher = Watcher(link, status, trio.current_time())
    await watcher.look()
    with Live(watcher.scene, console=console, refresh_per_second=FRAMES, transient=True, vertical_overflow="crop"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_keep_looking, watcher)
            status = await follow_run(link, run_id, lambda status: watcher.note(status, trio.current_time()))
            nursery.cancel_scope.cancel()
    return status


async def _keep_looking(watcher: Watcher) -> None:
    while True:
        await watcher.look()
        await trio.sleep(REFRESH_S)
