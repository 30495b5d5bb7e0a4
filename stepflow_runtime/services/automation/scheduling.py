"""Schedules go on: a task waits for each one's next time and submits its run (PROTOCOL §4, `schedules/*`).

A time that has come is first queued, as the overlap policy says, and fires when the run before has ended. The run of a
time has an idempotency key of its own, and a schedule only looks ahead from the last time that it took. So each time
fires once, whatever the clock and the runtime do in between (FAULTS 33). Above lies `schedules`, what peers ask.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import trio
from msgspec import Struct

from protocol.automation import Overlap, RunTemplate
from protocol.errors import ErrorCode, RpcError
from protocol.log import Logger
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.secret import NO_SECRETS
from stepflow_runtime.ports import Clock, Entry, Kind, Registry, Store, StoreUnavailable, WatchFor
from stepflow_runtime.services.automation.cron import next_after
from stepflow_runtime.services.automation.jobs import make_submission
from stepflow_runtime.services.creation import RunCreator
from stepflow_runtime.services.refusal import RETRY_MS

MAX_SLEEP_S: Final = 30.0
"""So long at most it sleeps: a wall clock that was set, or a machine that slept, is noticed then."""

CANCELLED_BY_NEXT: Final = "scheduleOverlap"
CANCEL_GRACE_S: Final = 5.0
SCHEDULE_LABEL: Final = "scheduleId"
"""The label by which the runs of a schedule are found."""

log = Logger(__name__)


class ScheduleRecord(Struct, kw_only=True, omit_defaults=True):
    """A schedule as it is stored.

    Attributes:
        next_ms: The next time, if there is one; `None` while it is paused.
        last_ms: The time that fired last, and `last_run_id` its run.
        queued: Times that have come and not yet fired.
        skipped: How many were left out.
        last_error: Why the last one could not fire, if it could not.
        key: Under which it is found again by the request that made it, if that had an id.
    """

    schedule_id: str
    name: str | None
    cron: str
    time_zone: str
    run: RunTemplate
    overlap: Overlap
    catch_up_ms: int
    created_at_ms: int
    created_by: str | None
    paused: bool = False
    next_ms: int | None = None
    last_ms: int | None = None
    last_run_id: RunId | None = None
    queued: list[int] = []
    skipped: int = 0
    last_error: str | None = None
    key: str | None = None

    def look_ahead(self, from_ms: int) -> None:
        """Its next time is the first after this one."""
        self.next_ms = next_after(self.cron, self.time_zone, from_ms)

    def take_due(self, now_ms: int, *, is_busy: bool, max_queued: int) -> bool:
        """Takes the times that have come; tells whether there were any.

        Args:
            now_ms: The time.
            is_busy: Whether the run before has not ended.
            max_queued: Times that may wait for it; beyond them, times are left out.
        """
        oldest_ms = now_ms - self.catch_up_ms
        taken = False
        while self.next_ms is not None and self.next_ms <= now_ms:
            taken = True
            if self.next_ms < oldest_ms:  # all that is too late is left out at once
                self.skipped += 1
                self.look_ahead(oldest_ms - 1)
                continue
            self._queue(self.next_ms, is_busy, max_queued)
            self.look_ahead(self.next_ms)
        return taken

    def _queue(self, time_ms: int, is_busy: bool, max_queued: int) -> None:
        match self.overlap:
            case "cancelPrevious":
                self.skipped += len(self.queued)
                self.queued = [time_ms]
            case "queue" if len(self.queued) < max_queued:
                self.queued.append(time_ms)
            case "skip" if not is_busy and not self.queued:
                self.queued.append(time_ms)
            case _:
                self.skipped += 1


class LiveSchedule:
    """A schedule that is followed."""

    def __init__(self, record: ScheduleRecord) -> None:
        self.record = record
        self.scope = trio.CancelScope()
        self.news = trio.Event()
        self.saving = trio.Lock()
        """One write of it at a time, so that none overtakes another and brings back what was before."""


class Scheduler:
    """Follows schedules.

    Args:
        executor: Executes their runs.
        store, registry: Hold runs and schedules.
        creator: Makes the runs.
        clock: The world.
        max_queued: Times of one schedule that may wait for the run before.

    Attributes:
        live: All schedules, by id.
    """

    def __init__(
        self,
        executor: Executor,
        store: Store,
        registry: Registry,
        creator: RunCreator,
        clock: Clock,
        max_queued: int,
    ) -> None:
        self._max_queued = max_queued
        self._executor = executor
        self._store = store
        self._registry = registry
        self._creator = creator
        self._clock = clock
        self.live: dict[str, LiveSchedule] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follows schedules until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                for entry in await self._registry.active(Kind.SCHEDULE):
                    self.begin(read_schedule_entry(entry))
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def begin(self, record: ScheduleRecord) -> None:
        """Follows a schedule that is stored; if the runtime is about to end, the next one does."""
        live = self.live[record.schedule_id] = LiveSchedule(record)
        if self._nursery is not None:
            self._nursery.start_soon(self._follow, live)

    def end(self, schedule_id: str) -> None:
        """Follows a schedule no more; a run of it goes on."""
        self.live.pop(schedule_id).scope.cancel()

    async def _follow(self, live: LiveSchedule) -> None:
        record = live.record
        with live.scope:
            while True:
                live.news = trio.Event()
                if not record.paused and not self._executor.is_draining:
                    await self._advance(live)
                await self._sleep(live)

    async def _advance(self, live: LiveSchedule) -> None:
        record = live.record
        is_busy = self._is_busy(record)
        if record.take_due(self._clock.wall_ms(), is_busy=is_busy, max_queued=self._max_queued):
            await self._save(live)
        if record.queued and record.overlap == "cancelPrevious" and record.last_run_id is not None:
            self._executor.request_cancel(record.last_run_id, CANCELLED_BY_NEXT, None, CANCEL_GRACE_S)
        while record.queued and not self._is_busy(record):
            await self._fire(live)

    def _is_busy(self, record: ScheduleRecord) -> bool:
        return record.last_run_id is not None and self._executor.active(record.last_run_id) is not None

    async def _fire(self, live: LiveSchedule) -> None:
        record = live.record
        time_ms = record.queued[0]
        submission = make_submission(record.run)
        submission.idempotency_key = f"schedule/{record.schedule_id}/{time_ms}"
        submission.labels = {**(record.run.labels or {}), SCHEDULE_LABEL: record.schedule_id}
        connection = Connection("schedule", "server" if record.created_by else "client", record.created_by)
        try:
            principal = record.created_by or ""
            run, _ = await self._creator.find_or_create(None, submission, principal, connection, NO_SECRETS)
            record.last_run_id, record.last_error = run.spec.run_id, None
        except RpcError as error:
            if error.code == ErrorCode.THROTTLED or error.data.get("reason") == "storeUnavailable":
                await trio.sleep(RETRY_MS / 1000)
                return
            log.error("a schedule cannot fire", schedule_id=record.schedule_id, reason=error.message)
            record.last_error = error.message
        record.last_ms = time_ms
        if time_ms in record.queued:  # it may have been paused meanwhile
            record.queued.remove(time_ms)
        await self._save(live)

    async def _sleep(self, live: LiveSchedule) -> None:
        """Until it is time, there is news, or a while has passed; or, if a time is queued, the run before has ended."""
        record = live.record
        delay_s = math.inf if record.paused else MAX_SLEEP_S
        if record.next_ms is not None:
            delay_s = min(delay_s, max(record.next_ms - self._clock.wall_ms(), 0) / 1000)
        with trio.move_on_after(delay_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_first, nursery, live.news.wait)
                if record.queued and record.last_run_id is not None:
                    nursery.start_soon(_first, nursery, self._store.watch, record.last_run_id, 0, WatchFor.TERMINAL)

    async def _save(self, live: LiveSchedule) -> None:
        while True:
            try:
                async with live.saving:
                    return await self._registry.save([make_schedule_entry(live.record)])
            except StoreUnavailable:
                await trio.sleep(RETRY_MS / 1000)


async def _first(nursery: trio.Nursery, wait: Callable[..., Awaitable[Any]], *args: Any) -> None:
    await wait(*args)
    nursery.cancel_scope.cancel()


def make_schedule_entry(record: ScheduleRecord) -> Entry:
    """A schedule as the registry keeps it."""
    return Entry(Kind.SCHEDULE, record.schedule_id, msgspec.json.encode(record), is_active=True)


def read_schedule_entry(entry: Entry) -> ScheduleRecord:
    """A schedule that the registry kept."""
    return msgspec.json.decode(entry.body, type=ScheduleRecord)
