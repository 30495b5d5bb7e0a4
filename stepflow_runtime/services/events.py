"""Public events of a run: a mapping of its journal (PROTOCOL §4, `runs/events`).

One journal event gives none, one or several public ones, in the journal's order and with its sequence number. A cursor
is a sequence number and a position among the public events of that number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NoReturn

import trio

from protocol.errors import ErrorCode, RpcError
from protocol.handling import parked
from protocol.types import EventsParams, EventsResult, Outcome, RunEvent
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent, decode_events
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import Failure
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import Store
from stepflow_runtime.services.lookup import RunLookup
from stepflow_runtime.services.status import decode_index_cursor, encode_cursor, format_time, run_not_found
from stepflow_runtime.services.visibility import Visibility

DEFAULT_LIMIT: Final = 100
ROWS_PER_READ: Final = 16

EVENT_TYPES: Final = frozenset(
    {
        "run.created",
        "run.started",
        "run.completed",
        "run.cancelRequested",
        "run.appended",
        "item.started",
        "item.completed",
        "step.started",
        "step.completed",
        "step.retrying",
        "subRun.created",
    }
)


class EventService:
    """Tells what happened in a run."""

    def __init__(self, executor: Executor, store: Store, visibility: Visibility) -> None:
        self._visibility = visibility
        self._lookup = RunLookup(executor, store)
        self._store = store

    async def events(self, params: EventsParams, connection: Connection) -> EventsResult:
        """`runs/events`: those after `cursor`; waits for the first one up to `timeoutMs`, woken by its commit.

        Raises:
            RpcError: `RUN_NOT_FOUND`; `INVALID_PARAMS` for an unknown type or a cursor that is none.
        """
        run_id = RunId(params.run_id)
        types = EVENT_TYPES if params.types is None else read_types(params.types, "types")
        limit = params.limit or DEFAULT_LIMIT
        position = decode_index_cursor(params.cursor, 2)
        found: list[RunEvent] = []
        record = await self._lookup.find(run_id)
        progress = self._visibility.require(connection, record, run_id, params.observability).progress
        deadline = trio.current_time() + (params.timeout_ms or 0) / 1000
        while True:
            # Only the waiting is cut short: what was read and where that ended belong together.
            position = await self._read(run_id, position, types, limit, found)
            seq = position[0]
            is_over = seq > progress.seq and progress.status in TERMINAL_RUN_STATES
            if found or is_over:
                break
            if seq <= progress.seq:
                continue
            if trio.current_time() >= deadline:
                break
            with parked(), trio.move_on_at(deadline):
                progress = await self._store.watch(run_id, progress.seq) or _gone(run_id)
        done = progress.status in TERMINAL_RUN_STATES and position[0] > progress.seq
        return EventsResult(found, encode_cursor(*position), done)

    async def _read(
        self, run_id: RunId, position: tuple[int, ...], types: frozenset[str], limit: int, found: list[RunEvent]
    ) -> tuple[int, ...]:
        """Reads on from `position` until `limit` or the journal's end; returns where to go on."""
        seq, skip = max(position[0], 1), position[1]
        while rows := await self._store.journal(run_id, seq, ROWS_PER_READ):
            for row in rows:
                at = format_time(row.at_ms)
                for event in decode_events(row.events)[seq - row.first_seq :]:
                    for kind, item, step, data in translate(event, skip):
                        if len(found) == limit:
                            return seq, skip
                        if kind in types:
                            found.append(RunEvent(seq, kind, at, run_id, item, step, data))
                        skip += 1
                    seq, skip = seq + 1, 0
            await trio.lowlevel.checkpoint()
        return seq, skip


def _gone(run_id: RunId) -> NoReturn:
    raise run_not_found(run_id)


def read_types(types: list[str], field: str = "events") -> frozenset[str]:
    """Types of events, as a request names them.

    Raises:
        RpcError: `INVALID_PARAMS` if there are others among them.
    """
    unknown = sorted(set(types) - EVENT_TYPES)
    if unknown:
        raise RpcError(
            ErrorCode.INVALID_PARAMS,
            f"there are no events of type {', '.join(unknown)}; types are {', '.join(sorted(EVENT_TYPES))}",
            path=f"$.{field}",
        )
    return frozenset(types)


Public = tuple[str, int | None, str | None, dict[str, Any] | None]


def translate(event: AnyEvent, skip: int = 0) -> Iterable[Public]:
    """The public events of a journal event, without the first `skip`: type, item, step and data of each."""
    match event:
        case ev.ItemsCancelled(first=first, last=last, reason=reason):
            return (_item_completed(item, Outcome.CANCELLED, _reason(reason)) for item in range(first + skip, last + 1))
        case _:
            return _translate_small(event)[skip:]


def _translate_small(event: AnyEvent) -> list[Public]:
    match event:
        case ev.RunCreated(spec=spec, total=total, sealed=sealed):
            return [("run.created", None, None, {"flowId": spec.flow_id, "total": total, "sealed": sealed})]
        case ev.RunStarted():
            return [("run.started", None, None, None)]
        case ev.RunAppended(total=total, sealed=sealed):
            return [("run.appended", None, None, {"total": total, "sealed": sealed})]
        case ev.ItemsStarted(first=first, last=last, steps=steps, attempt=attempt):
            public: list[Public] = []
            for item in range(first, last + 1):
                public.append(("item.started", item, None, None))
                public.extend(("step.started", item, step, {"attempt": attempt}) for step in steps)
            return public
        case ev.StepStarted(item=item, step=step, attempt=attempt):
            return [("step.started", item, step, {"attempt": attempt})]
        case ev.StepIdled(item=item, step=step, attempt=attempt, reason=reason):
            data = {"attempt": attempt, "outcome": Outcome.SUCCESS, "noAction": True, **_reason(reason)}
            return [("step.completed", item, step, data)]
        case ev.StepSucceeded(item=item, step=step, attempt=attempt, since=since):
            completed: Public = ("step.completed", item, step, {"attempt": attempt, "outcome": Outcome.SUCCESS})
            return [completed, _item_completed(item, Outcome.SUCCESS)] if since else [completed]
        case ev.StepFailed(item=item, step=step, attempt=attempt, error=error, defaulted=defaulted):
            data = {"attempt": attempt, "outcome": Outcome.FAILED, **_describe(error)}
            return [("step.completed", item, step, {**data, "defaulted": True} if defaulted else data)]
        case ev.StepRetrying(item=item, step=step, attempt=attempt, error=error, due_ms=due_ms, cause=cause):
            data = {"attempt": attempt, "dueAt": format_time(due_ms), "cause": cause, **_describe(error)}
            return [("step.retrying", item, step, data)]
        case ev.ItemSucceeded(item=item):
            return [_item_completed(item, Outcome.SUCCESS)]
        case ev.ItemFailed(item=item, error=error):
            return [_item_completed(item, Outcome.FAILED, _describe(error))]
        case ev.ItemCancelled(item=item, reason=reason):
            return [_item_completed(item, Outcome.CANCELLED, _reason(reason))]
        case ev.CancelRequested(reason=reason, items=items):
            meant = {} if items is None else {"itemIndexes": list(items)}
            return [("run.cancelRequested", None, None, {**_reason(reason), **meant} or None)]
        case ev.ChildCreated(item=item, step=step, child=child):
            return [("subRun.created", item, step, {"runId": child})]
        case ev.RunCompleted(status=status):
            return [("run.completed", None, None, {"status": status})]
        case ev.WindowOpened() | ev.RunStopped() | ev.RunRecovered() | ev.ItemsCancelled():
            return []


def _item_completed(item: int, outcome: Outcome, more: dict[str, Any] | None = None) -> Public:
    return "item.completed", item, None, {"outcome": outcome, **(more or {})}


def _describe(error: Failure) -> dict[str, Any]:
    return {"error": {"code": error.code, "message": error.message}}


def _reason(reason: str | None) -> dict[str, Any]:
    return {} if reason is None else {"reason": reason}
