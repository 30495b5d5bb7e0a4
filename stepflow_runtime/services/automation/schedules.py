"""Schedules as peers see them: created, listed, paused, deleted (PROTOCOL §4, `schedules/*`).

What a schedule submits is checked when it is created, and resolved each time that it fires: the flow is pinned by its
id, variables with a secret have the value that they have then. How it fires is the business of `scheduling`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from protocol.automation import CreateScheduleParams, ListSchedulesParams, ListSchedulesResult, Schedule, ScheduleParams
from protocol.errors import ErrorCode, RpcError
from protocol.types import Empty
from stepflow_runtime.connect.connection import Connection, Connections
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.ports import Clock, Ids, Kind, Registry, Store, StoreUnavailable
from stepflow_runtime.services.automation.cron import check_cron
from stepflow_runtime.services.automation.jobs import make_submission
from stepflow_runtime.services.automation.scheduling import (
    LiveSchedule,
    Scheduler,
    ScheduleRecord,
    make_schedule_entry,
    read_schedule_entry,
)
from stepflow_runtime.services.creation import RunCreator
from stepflow_runtime.services.refusal import add_certainly, refuse_unstored
from stepflow_runtime.services.requests import Request, find_made, read_request
from stepflow_runtime.services.status import decode_text_cursor, encode_cursor, format_time
from stepflow_runtime.services.submission import limit_exceeded

DEFAULT_LIMIT: Final = 100
DEFAULT_CATCH_UP_MS: Final = 3_600_000
"""Times that were missed no longer ago than an hour are made up for, unless a schedule says otherwise."""


class ScheduleService:
    """Creates schedules and tells about them.

    Args:
        executor: Executes their runs.
        store, registry: Hold runs and schedules.
        creator: Makes the runs.
        connections: Tells which execution a request belongs to.
        clock, ids: The world.
        max_schedules: At once.
        max_queued_times: Of one schedule, that wait for the run before.

    Attributes:
        run: Follows schedules until cancelled.
    """

    def __init__(
        self,
        executor: Executor,
        store: Store,
        registry: Registry,
        creator: RunCreator,
        connections: Connections,
        clock: Clock,
        ids: Ids,
        max_schedules: int,
        max_queued_times: int,
    ) -> None:
        self._registry = registry
        self._creator = creator
        self._connections = connections
        self._clock = clock
        self._ids = ids
        self._max_schedules = max_schedules
        self._scheduler = Scheduler(executor, store, registry, creator, clock, max_queued_times)
        self.run = self._scheduler.run

    async def create(self, params: CreateScheduleParams, connection: Connection) -> Schedule:
        """`schedules/create`.

        Raises:
            RpcError: `INVALID_PARAMS` for cron and time zone; as `runs/submit` would for the run; `LIMIT_EXCEEDED`;
                `CONFLICT` if its `request_id` was used for another one.
        """
        self._connections.find_execution(connection, params.observability)
        request = read_request(Kind.SCHEDULE_KEY, params, connection.plugin or "")
        made = None if request is None else await self._find_made(request)
        if made is not None:
            return _describe(made, deduplicated=True)
        try:
            check_cron(params.cron, params.time_zone)
        except ValueError as error:
            path = "$.timeZone" if "time zone" in str(error) else "$.cron"
            raise RpcError(ErrorCode.INVALID_PARAMS, str(error), path=path) from None
        if len(self._scheduler.live) >= self._max_schedules:
            why = "there are too many schedules; delete those that nobody needs"
            raise limit_exceeded("maxSchedules", self._max_schedules, len(self._scheduler.live) + 1, why)
        await self._creator.check(make_submission(params.run), connection)
        now_ms = self._clock.wall_ms()
        record = ScheduleRecord(
            schedule_id=self._ids.run_id(),
            name=params.name,
            cron=params.cron,
            time_zone=params.time_zone,
            run=params.run,
            overlap=params.overlap or "skip",
            catch_up_ms=DEFAULT_CATCH_UP_MS if params.catch_up_ms is None else params.catch_up_ms,
            created_at_ms=now_ms,
            created_by=connection.plugin,
            paused=bool(params.paused),
            key=None if request is None else request.key,
        )
        record.run = msgspec.json.decode(msgspec.json.encode(params.run), type=type(params.run))  # out of its frame
        if not record.paused:
            record.look_ahead(now_ms)
        entries = [make_schedule_entry(record)]
        if request is not None:
            entries.append(request.make_key(record.schedule_id))
        try:
            is_new = await add_certainly(self._registry, entries)
        except StoreUnavailable as error:
            raise refuse_unstored("the schedule", error, may_wait=connection.role == "server") from error
        if not is_new:  # the same request came twice at a time, and the other one was first
            return await self.create(params, connection)
        self._scheduler.begin(record)
        return _describe(record)

    async def _find_made(self, request: Request) -> ScheduleRecord | None:
        """The schedule that a request made before; it may be stored and not yet live."""
        schedule_id = await find_made(self._registry, request)
        if schedule_id is None:
            return None
        if schedule_id in self._scheduler.live:
            return self._scheduler.live[schedule_id].record
        entry = await self._registry.entry(Kind.SCHEDULE, schedule_id)
        return None if entry is None else read_schedule_entry(entry)

    async def list_schedules(self, params: ListSchedulesParams, connection: Connection) -> ListSchedulesResult:
        """`schedules/list`: newest first."""
        limit = params.limit or DEFAULT_LIMIT
        found = await self._registry.entries(Kind.SCHEDULE, decode_text_cursor(params.cursor), limit + 1)
        more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
        live = [self._scheduler.live[entry.id] for entry in found[:limit] if entry.id in self._scheduler.live]
        return ListSchedulesResult([_describe(one.record) for one in live if _may_see(connection, one.record)], more)

    async def pause(self, params: ScheduleParams, connection: Connection) -> Schedule:
        """`schedules/pause`: it fires no more, nor what is queued; the run that it submitted goes on."""
        live = self._require(params, connection)
        record = live.record
        record.paused, record.next_ms, record.queued = True, None, []
        return await self._tell(live, connection)

    async def unpause(self, params: ScheduleParams, connection: Connection) -> Schedule:
        """`schedules/unpause`: what its times were meanwhile is not made up for."""
        live = self._require(params, connection)
        if live.record.paused:
            live.record.paused = False
            live.record.look_ahead(self._clock.wall_ms())
        return await self._tell(live, connection)

    async def delete(self, params: ScheduleParams, connection: Connection) -> Empty:
        """`schedules/delete`: the run that it submitted goes on."""
        live = self._require(params, connection)
        self._scheduler.end(live.record.schedule_id)
        try:
            keys = [] if live.record.key is None else [(Kind.SCHEDULE_KEY, live.record.key)]
            await self._registry.save([], removed=[(Kind.SCHEDULE, live.record.schedule_id), *keys])
        except StoreUnavailable as error:
            self._scheduler.begin(live.record)
            raise refuse_unstored("the deletion", error, may_wait=connection.role == "server") from error
        return Empty()

    async def _tell(self, live: LiveSchedule, connection: Connection) -> Schedule:
        try:
            async with live.saving:
                await self._registry.save([make_schedule_entry(live.record)])
        except StoreUnavailable as error:
            raise refuse_unstored("the schedule", error, may_wait=connection.role == "server") from error
        live.news.set()
        return _describe(live.record)

    def _require(self, params: ScheduleParams, connection: Connection) -> LiveSchedule:
        self._connections.find_execution(connection, params.observability)
        live = self._scheduler.live.get(params.schedule_id)
        if live is None or not _may_see(connection, live.record):
            message = f"there is no schedule {params.schedule_id}"
            raise RpcError(ErrorCode.NOT_FOUND, message, kind="schedule", scheduleId=params.schedule_id)
        return live


def _may_see(connection: Connection, record: ScheduleRecord) -> bool:
    """Clients see all schedules; a component server those that its plugin created."""
    return connection.role != "server" or (record.created_by is not None and record.created_by == connection.plugin)


def _describe(record: ScheduleRecord, *, deduplicated: bool | None = None) -> Schedule:
    return Schedule(
        schedule_id=record.schedule_id,
        name=record.name,
        cron=record.cron,
        time_zone=record.time_zone,
        flow_id=record.run.flow_id,
        overlap=record.overlap,
        catch_up_ms=record.catch_up_ms,
        paused=record.paused or None,
        created_at=format_time(record.created_at_ms),
        created_by=record.created_by,
        next_at=None if record.next_ms is None else format_time(record.next_ms),
        last_at=None if record.last_ms is None else format_time(record.last_ms),
        last_run_id=record.last_run_id,
        last_error=record.last_error,
        queued=len(record.queued) or None,
        skipped=record.skipped or None,
        deduplicated=deduplicated,
    )
