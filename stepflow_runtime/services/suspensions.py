"""What waits to be resumed: finding it, telling of it, and resuming it (PROTOCOL §4, "Suspension").

Of an item that waits only its place in the journal is kept, so it is the journal that is read here. Between reading and
resuming others may resume, too: the engine lets one of them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Final

import msgspec
import trio
from msgspec import UNSET, Struct

from protocol.errand import in_task
from protocol.errors import ErrorCode, RpcError
from protocol.handling import parked
from protocol.runs import ResumeParams, RunStatus, SuspensionInfo
from stepflow_runtime.connect.connection import Connection, Connections
from stepflow_runtime.engine.active_run import ActiveRun
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.facts import Resumption, RunFacts
from stepflow_runtime.engine.items import ItemRecord, summarize
from stepflow_runtime.engine.recovery import load_facts
from stepflow_runtime.engine.results import seq_of
from stepflow_runtime.model.events import ItemParked, StepSummary, StepSuspended
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import NULL
from stepflow_runtime.model.pointer import extend
from stepflow_runtime.model.schema import MAX_SCHEMA_STEPS, parse_schema
from stepflow_runtime.ports import RunRecord, Store, WatchFor
from stepflow_runtime.services.lookup import RunLookup
from stepflow_runtime.services.results import Journal
from stepflow_runtime.services.status import format_time, make_status
from stepflow_runtime.services.visibility import Visibility

SHOWN: Final = 100
"""Suspensions that a `RunStatus` tells of, and an error that lists them; `runs/steps` tells of all."""

MAX_ISSUES: Final = 20


class Suspended(Struct, frozen=True):
    """One suspension that nobody has ended.

    Args:
        seq: The sequence number of its event.
        event: What was asked for.
        at_ms: When.
        parked: The event that parked its item, if it is parked.
        parked_seq: Its sequence number.
    """

    seq: int
    event: StepSuspended
    at_ms: int
    parked: ItemParked | None = None
    parked_seq: int = 0

    @property
    def info(self) -> SuspensionInfo:
        """As it is told on the wire."""
        return describe_suspension(self.event, self.at_ms)


def describe_suspension(event: StepSuspended, at_ms: int) -> SuspensionInfo:
    """A suspension as it is told on the wire."""
    return SuspensionInfo(
        item_index=event.item,
        step_id=event.step,
        label=event.label,
        payload=UNSET if bytes(event.payload) == NULL else event.payload,
        resume_schema=UNSET if bytes(event.schema) == NULL else event.schema,
        suspended_at=format_time(at_ms),
        expires_at=format_time(event.due_ms) if event.due_ms else None,
    )


class Wanted(Struct, frozen=True):
    """Which suspensions are meant; what is absent does not restrict."""

    item: int | None = None
    step: str | None = None
    label: str | None = None
    token: str | None = None

    def may_be(self, step: StepSummary) -> bool:
        return (
            step.suspended > 0
            and not step.ended
            and not step.sleeps
            and self.step in (None, step.id)
            and self.token in (None, step.token)
        )

    def was(self, resumption: Resumption) -> bool:
        return (
            self.item in (None, resumption.item)
            and self.step in (None, resumption.step)
            and self.label in (None, resumption.label)
            and self.token in (None, resumption.token)
        )


class SuspensionReader:
    """Finds what is suspended in runs, and knows what it can be resumed with.

    Args:
        executor: Executes the runs.
        store: Holds them.
        max_schema_steps: What checking an answer may take.
    """

    def __init__(self, executor: Executor, store: Store, max_schema_steps: int = MAX_SCHEMA_STEPS) -> None:
        self._executor = executor
        self._store = store
        self._max_schema_steps = max_schema_steps

    def check_data(self, event: StepSuspended, data: bytes, record: RunRecord) -> None:
        """Refuses what a suspension cannot be resumed with.

        Raises:
            RpcError: `VALIDATION_FAILED`, with `data.issues`; `LIMIT_EXCEEDED` if checking it could take longer.
        """
        if bytes(event.schema) == NULL:
            return
        schema, value = parse_schema(bytes(event.schema)), msgspec.json.decode(data)
        schema.require_budget("resumeData", value, self._max_schema_steps)
        if schema.is_valid(value, max_steps=self._max_schema_steps):
            return
        misfits = schema.find_misfits(value, self._max_schema_steps)[:MAX_ISSUES]
        issues = [{"path": extend("", *path), "message": message} for path, message in misfits]
        place = issues[0]["path"] or "the root"
        message = f"resumeData does not fit what step {event.step!r} waits for: {issues[0]['message']} at {place}"
        raise RpcError(
            ErrorCode.VALIDATION_FAILED, message, issues=issues, runId=record.spec.run_id, itemIndex=event.item
        )

    async def describe(self, status: RunStatus) -> RunStatus:
        """The status of a run, with what waits in it to be resumed."""
        run = self._executor.active(RunId(status.run_id))
        if run is not None and status.completed_at is None:
            status.suspensions = [found.info for found in await self.find(run, Wanted(), SHOWN)] or None
        return status

    async def find(self, run: ActiveRun, wanted: Wanted, limit: int) -> list[Suspended]:
        """The suspensions that are meant, at most `limit` of them."""
        facts, found = run.state.facts, list[Suspended]()
        if not facts.has_suspended:
            return found
        await self._executor.wait_committed(run, facts.seq)
        journal = Journal(self._store, run.spec.run_id)
        async with aclosing(self._candidates(run, wanted)) as candidates:
            async for step, parked_event, parked_seq in candidates:
                event, at_ms = await journal.event(step.suspended)
                assert isinstance(event, StepSuspended)
                if wanted.label in (None, event.label):
                    found.append(Suspended(step.suspended, event, at_ms, parked_event, parked_seq))
                if len(found) == limit:
                    break
        return found

    async def _candidates(
        self, run: ActiveRun, wanted: Wanted
    ) -> AsyncGenerator[tuple[StepSummary, ItemParked | None, int]]:
        """Steps that may be meant: of the items in memory first, then of parked ones, by index."""
        facts = run.state.facts
        seq = run.committed.seq
        for item in _items(facts):
            if wanted.item in (None, item.index):
                for step in summarize(item):
                    if wanted.may_be(step) and step.suspended <= seq:
                        yield step, None, 0
        journal = Journal(self._store, run.spec.run_id)
        for count, (_, ref) in enumerate(_parked(facts, wanted.item)):
            if seq_of(ref) > seq:
                continue
            event, _ = await journal.event(seq_of(ref))
            assert isinstance(event, ItemParked)
            for step in event.steps:
                if wanted.may_be(step):
                    yield step, event, seq_of(ref)
            if count % 1000 == 999:
                await in_task()
                await trio.lowlevel.checkpoint()


def _items(facts: RunFacts) -> list[ItemRecord]:
    return [*facts.live.values(), *facts.queued.values()]


def _parked(facts: RunFacts, item: int | None) -> Iterable[tuple[int, int]]:
    if item is None:
        return list(facts.results.iterate_parked())
    ref = facts.results.find_parked(item)
    return [(item, ref)] if ref else []


class SuspensionService:
    """Resumes what is suspended.

    Args:
        executor: Executes the runs.
        store: Holds them.
        connections: Tells which execution a request belongs to.
        reader: Finds what is suspended.
    """

    def __init__(self, executor: Executor, store: Store, connections: Connections, reader: SuspensionReader) -> None:
        self._executor = executor
        self._store = store
        self._connections = connections
        self._visibility = Visibility(connections)
        self._lookup = RunLookup(executor, store)
        self._reader = reader

    async def resume(self, params: ResumeParams, connection: Connection) -> RunStatus:
        """`runs/resume`: ends one suspension, durably; with `wait`, answers when the run has settled.

        Raises:
            RpcError: `NOT_SUSPENDED` if none is meant, or several; `ALREADY_RESUMED`; `VALIDATION_FAILED`;
                `RUN_NOT_FOUND`; `NOT_FOUND` for a token under which nothing waits.
        """
        self._connections.find_execution(connection, params.observability)
        wanted = Wanted(params.item_index, params.step, params.label, params.token)
        record, wanted = await self._find_run(params, wanted, connection)
        run_id = record.spec.run_id
        run = self._executor.active(run_id)
        facts = await load_facts(self._store, run_id) if run is None else run.state.facts
        if params.request_id is None or not _is_known(facts, params.request_id):
            if run is None:
                raise _nothing(facts, wanted, record)
            await self._resume(run, record, wanted, params)
        if run is not None:
            with parked():
                await self._executor.wait_committed(run, run.state.facts.seq)
        if params.wait:
            record = await self._settle(record, params.timeout_ms)
        return await self._reader.describe(make_status(await self._lookup.require(run_id)))

    async def _find_run(self, params: ResumeParams, wanted: Wanted, connection: Connection) -> tuple[RunRecord, Wanted]:
        run_id = params.run_id
        if params.token is not None:
            run_id = self._executor.waking.find_run(params.token) or run_id
        if run_id is None:
            if params.token is None:
                raise RpcError(ErrorCode.INVALID_PARAMS, "runs/resume needs runId, or token", path="$.runId")
            raise RpcError(ErrorCode.NOT_FOUND, "nothing waits under this token", kind="token")
        record = await self._lookup.find(RunId(run_id))
        if params.token is None or params.run_id is not None:
            record = self._visibility.require(connection, record, run_id, params.observability)
        assert record is not None
        if params.run_id not in (None, record.spec.run_id):
            raise RpcError(ErrorCode.NOT_FOUND, f"nothing in run {params.run_id} waits under this token", kind="token")
        return record, wanted

    async def _resume(self, run: ActiveRun, record: RunRecord, wanted: Wanted, params: ResumeParams) -> None:
        found = await self._reader.find(run, wanted, SHOWN)
        if len(found) != 1:
            raise _ambiguous(record, found) if found else _nothing(run.state.facts, wanted, record)
        (suspended,) = found
        data = NULL if params.resume_data is UNSET else bytes(params.resume_data)
        self._reader.check_data(suspended.event, data, record)
        if self._executor.waking.resume(run, suspended, data, params.request_id):
            return
        if params.request_id is None or not _is_known(run.state.facts, params.request_id):
            raise _nothing(run.state.facts, wanted, record)

    async def _settle(self, record: RunRecord, timeout_ms: int | None) -> RunRecord:
        with parked(), trio.move_on_after(float("inf") if timeout_ms is None else timeout_ms / 1000):
            await self._store.watch(record.spec.run_id, 0, WatchFor.SETTLED)
        return await self._lookup.require(record.spec.run_id)


def _is_known(facts: RunFacts, request_id: str) -> bool:
    return any(resumption.request_id == request_id for resumption in facts.resumptions)


def _nothing(facts: RunFacts, wanted: Wanted, record: RunRecord) -> RpcError:
    """Why nothing was resumed, when nothing that is meant is suspended."""
    run_id = record.spec.run_id
    if any(map(wanted.was, facts.resumptions)):
        message = f"this was resumed already: ask runs/get what run {run_id} waits for now, if anything"
        return RpcError(ErrorCode.ALREADY_RESUMED, message, runId=run_id)
    message = f"nothing that is meant is suspended in run {run_id}, which is {facts.progress.status}"
    return RpcError(ErrorCode.NOT_SUSPENDED, message, runId=run_id, available=[])


def _ambiguous(record: RunRecord, found: Iterable[Suspended]) -> RpcError:
    available = [msgspec.json.decode(msgspec.json.encode(suspended.info)) for suspended in found]
    several = f"{len(available)}" if len(available) < SHOWN else f"at least {SHOWN}"
    message = f"{several} suspensions of run {record.spec.run_id} are meant: say which one, by itemIndex, step or label"
    return RpcError(ErrorCode.NOT_SUSPENDED, message, runId=record.spec.run_id, available=available)
