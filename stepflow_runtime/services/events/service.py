"""What happened in a run, as peers see it (PROTOCOL §4, `runs/events`): public events, page by page.

A cursor is a sequence number and a position among the public events of that number; with sub-runs see `tree_events`.
"""

from __future__ import annotations

from typing import Final, NoReturn

import trio

from protocol.errors import ErrorCode, RpcError
from protocol.handling import parked
from protocol.runs import EventsParams, EventsResult
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import RunProgress, Store
from stepflow_runtime.services.events.page import EventPage
from stepflow_runtime.services.events.public import EVENT_TYPES, read_types
from stepflow_runtime.services.events.tree import TreeEvents
from stepflow_runtime.services.lookup import RunLookup
from stepflow_runtime.services.status import decode_index_cursor, encode_cursor, run_not_found
from stepflow_runtime.services.visibility import Visibility

DEFAULT_LIMIT: Final = 100
ROWS_PER_READ: Final = 16


class EventService:
    """Tells what happened in a run."""

    def __init__(self, executor: Executor, store: Store, visibility: Visibility) -> None:
        self._visibility = visibility
        self._lookup = RunLookup(executor, store)
        self._store = store

    async def events(self, params: EventsParams, connection: Connection) -> EventsResult:
        """`runs/events`: those after `cursor`; waits for the first one up to `timeoutMs`, woken by its commit.

        Raises:
            RpcError: `RUN_NOT_FOUND`; `INVALID_PARAMS` for an unknown type, a cursor that is none, or a `tail` together
                with a cursor or sub-runs.
        """
        run_id = RunId(params.run_id)
        types = EVENT_TYPES if params.types is None else read_types(params.types, "types")
        page = EventPage(types, params.limit or DEFAULT_LIMIT)
        record = self._visibility.require(connection, await self._lookup.find(run_id), run_id, params.observability)
        deadline = trio.current_time() + (params.timeout_ms or 0) / 1000
        if params.tail is not None and (params.cursor is not None or params.include_sub_runs):
            message = "`tail` says where to begin; leave `cursor` and `includeSubRuns` out, or leave it out."
            raise RpcError(ErrorCode.INVALID_PARAMS, message)
        if params.include_sub_runs:
            return await TreeEvents(self._store, record).read(page, params.cursor, deadline)
        seq, skip = decode_index_cursor(params.cursor, 2)
        if params.tail is not None:
            seq = record.progress.seq - params.tail + 1
        return await self._read(run_id, record.progress, page, seq, skip, deadline)

    async def _read(
        self, run_id: RunId, progress: RunProgress, page: EventPage, seq: int, skip: int, deadline: float
    ) -> EventsResult:
        while True:
            # Only the waiting is cut short: what was read and where that ended belong together.
            seq, skip = await self._fill(run_id, page, max(seq, 1), skip)
            is_over = seq > progress.seq and progress.status in TERMINAL_RUN_STATES
            if page.events or is_over:
                break
            if seq <= progress.seq:
                continue
            if trio.current_time() >= deadline:
                break
            with parked(), trio.move_on_at(deadline):
                progress = await self._store.watch(run_id, progress.seq) or _gone(run_id)
        done = progress.status in TERMINAL_RUN_STATES and seq > progress.seq
        return EventsResult(page.events, encode_cursor(seq, skip), done)

    async def _fill(self, run_id: RunId, page: EventPage, seq: int, skip: int) -> tuple[int, int]:
        """Reads on until the page is full or the journal at its end; returns where to go on."""
        while rows := await self._store.journal(run_id, seq, ROWS_PER_READ):
            for row in rows:
                stopped = page.take(run_id, row, seq - row.first_seq, skip)
                if stopped is not None:
                    return row.first_seq + stopped[0], stopped[1]
                seq, skip = row.last_seq + 1, 0
            await trio.lowlevel.checkpoint()
        return seq, skip


def _gone(run_id: RunId) -> NoReturn:
    raise run_not_found(run_id)
