"""Public events of a run and of all runs beneath it, in the order in which they were committed (PROTOCOL §4).

A cursor is the position of the last row that was read whole, and what was read of the next: its events, and the public
ones of the event after them.
"""

from __future__ import annotations

from typing import Final

import trio
from msgspec import Struct

from protocol.handling import parked
from protocol.runs import EventsResult, RunState
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import RunFilter, RunRecord, Store
from stepflow_runtime.services.events.page import EventPage
from stepflow_runtime.services.status import bad_cursor, decode_cursor, encode_cursor

ROWS_PER_READ: Final = 64
RUNS_PER_READ: Final = 256

_MARK: Final = "tree"
_UNFINISHED: Final = tuple(state for state in RunState if state not in TERMINAL_RUN_STATES)


class Position(Struct, frozen=True):
    """Where to read on: after a row, and so many events and public events into the next."""

    after: int = 0
    events: int = 0
    skip: int = 0

    def encode(self) -> str:
        return encode_cursor(_MARK, self.after, self.events, self.skip)

    @classmethod
    def decode(cls, cursor: str | None) -> Position:
        """Raises `RpcError` for what is no cursor of this reading."""
        if cursor is None:
            return cls()
        mark, *numbers = decode_cursor(cursor)
        if mark != _MARK or len(numbers) != 3 or not all(number.isdecimal() for number in numbers):
            raise bad_cursor()
        return cls(*map(int, numbers))


class TreeEvents:
    """The events of one run and of those beneath it.

    Args:
        store: Has them.
        top: The run.
    """

    def __init__(self, store: Store, top: RunRecord) -> None:
        self._store = store
        self._root = top.spec.root_run_id
        self._top = top.spec.run_id
        self._beneath: dict[RunId, bool] = {self._top: True, self._root: self._top == self._root}

    async def read(self, page: EventPage, cursor: str | None, deadline: float) -> EventsResult:
        """Fills a page; waits for the first event until `deadline`, trio's time."""
        position = Position.decode(cursor)
        while True:
            is_over = await self._is_over()  # asked first: what happens meanwhile is read
            position = await self._fill(page, position)
            if page.events or is_over or trio.current_time() >= deadline:
                return EventsResult(page.events, position.encode(), is_over and not page.is_full)
            with parked(), trio.move_on_at(deadline):
                await self._store.watch_tree(self._root, position.after)

    async def _fill(self, page: EventPage, position: Position) -> Position:
        while rows := await self._store.tree_journal(self._root, position.after, ROWS_PER_READ):
            for found in rows:
                if await self._is_beneath(found.run_id):
                    stopped = page.take(found.run_id, found.row, position.events, position.skip)
                    if stopped is not None:
                        return Position(position.after, *stopped)
                position = Position(found.position)
            await trio.lowlevel.checkpoint()
        return position

    async def _is_beneath(self, run_id: RunId) -> bool:
        """Whether a run of the tree is the run that is meant, or one beneath it."""
        path: list[RunId] = []
        current = run_id
        while current not in self._beneath:
            path.append(current)
            record = await self._store.run(current)
            if record is None or record.spec.parent is None:  # a parent that was deleted
                self._beneath[current] = False
            else:
                current = record.spec.parent.run_id
        self._beneath.update(dict.fromkeys(path, self._beneath[current]))
        return self._beneath[current]

    async def _is_over(self) -> bool:
        """Whether nothing more can happen: all of them have ended."""
        top = await self._store.run(self._top)
        if top is not None and top.progress.status not in TERMINAL_RUN_STATES:
            return False
        for state in _UNFINISHED:
            before: RunId | None = None
            while records := await self._store.runs(
                RunFilter(root_run_id=self._root, status=state), before, RUNS_PER_READ
            ):
                for record in records:
                    if await self._is_beneath(record.spec.run_id):
                        return False
                before = records[-1].spec.run_id
        return True
