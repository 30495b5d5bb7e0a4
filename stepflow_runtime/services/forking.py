"""Restarts and time travel (PROTOCOL §4): what goes again does so in a fork, and the run that it is of never changes.

A run that has not ended needs no fork: its active steps go again in itself. All is checked before anything happens.
What a fork keeps is not copied, see `engine.lineage`; what it re-uses is decided in `engine.fork`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import trio
from msgspec import UNSET, Struct
from msgspec.structs import replace

from protocol.forking import RestartParams, TimeTravelParams
from protocol.handling import parked
from protocol.runs import RunState, RunStatus
from protocol.types import Observability
from stepflow_runtime.connect.connection import Connection, Connections
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.fork import count, holds, make_stretches
from stepflow_runtime.engine.lineage import find_ordinals, find_places, read_chunk, read_lineage
from stepflow_runtime.engine.loading import read_events
from stepflow_runtime.engine.programs import Programs
from stepflow_runtime.engine.results import seq_of
from stepflow_runtime.model.events import ItemParked, RunForked, Stretches
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.spec import Fork, RunSpec
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import (
    SEGMENT_ITEMS,
    Clock,
    Conflict,
    Ids,
    ItemRef,
    RunRecord,
    Store,
    StoreUnavailable,
    WatchFor,
)
from stepflow_runtime.services.creation import RunCreator
from stepflow_runtime.services.fork_checks import SHOWN, check_steps, check_travel, conflict, read_items
from stepflow_runtime.services.fork_requests import ForkRequest, ForkRequests, read_request
from stepflow_runtime.services.lookup import RunLookup
from stepflow_runtime.services.refusal import refuse_unstored
from stepflow_runtime.services.status import make_status
from stepflow_runtime.services.suspensions import SuspensionReader
from stepflow_runtime.services.visibility import Visibility


class Origin(Struct, frozen=True):
    """A run as it is forked: nothing of it happens any more, or nothing that counts.

    Args:
        record: It.
        begun: Its items that have begun and not ended, and since which event.
    """

    record: RunRecord
    begun: Mapping[int, int]


class ForkService:
    """Has runs, or parts of them, go again.

    Args:
        executor: Executes the runs.
        store: Holds them.
        programs: Finds their flows.
        connections: Tells which execution a request belongs to.
        clock, ids: The world.
        creator: Refuses what is new while the runtime stops.
        reader: Tells what is suspended.
    """

    def __init__(
        self,
        executor: Executor,
        store: Store,
        programs: Programs,
        connections: Connections,
        clock: Clock,
        ids: Ids,
        creator: RunCreator,
        reader: SuspensionReader,
    ) -> None:
        self._executor = executor
        self._store = store
        self._programs = programs
        self._connections = connections
        self._visibility = Visibility(connections)
        self._lookup = RunLookup(executor, store)
        self._requests = ForkRequests(executor, store)
        self._clock = clock
        self._ids = ids
        self._creator = creator
        self._reader = reader

    # --- restart ---

    async def restart(self, params: RestartParams, connection: Connection) -> RunStatus:
        """`runs/restart`: the active steps of a run go again; of an ended one, in a fork, what did not succeed.

        Raises:
            RpcError: `RUN_NOT_FOUND`; `INVALID_PARAMS` for items that are not there; `CONFLICT` if the run is being
                cancelled, `only` is given before its end, or the `request_id` was used for something else.
        """
        record = await self._require(params.run_id, params.observability, connection)
        request = read_request(params, connection.plugin or "")
        if request is not None and (found := await self._requests.find(request, record)) is not None:
            return await self._describe(found.spec.run_id, is_new=False)
        record = await self._lookup.require(record.spec.run_id)
        items = read_items(params.item_indexes, record)
        if record.progress.status not in TERMINAL_RUN_STATES:
            return await self._restart_steps(params, request, record, items)
        how = {ItemRef.FAILED} if params.only == "failed" else {ItemRef.FAILED, ItemRef.CANCELLED}
        travelling = await self._find_ended(record, how, items)
        fork, is_new = await self._fork(Origin(record, {}), travelling, {}, request, connection, params.observability)
        return await self._describe(fork, is_new)

    async def _restart_steps(
        self, params: RestartParams, request: ForkRequest | None, record: RunRecord, items: Collection[int] | None
    ) -> RunStatus:
        run_id = record.spec.run_id
        run = self._executor.active(run_id)
        if run is not None and request is not None and request.was_made(run.state.facts):
            return await self._describe(run_id, is_new=False)
        if params.only is not None:
            raise conflict(run_id, f"run {run_id} has not ended: its active steps can go again, without `only`")
        if run is None or run.state.is_stopping:
            raise conflict(run_id, f"run {run_id} is being cancelled: wait for its end, then restart it")
        self._executor.restart_steps(run, items, None if request is None else request.event)
        with parked():
            await self._executor.wait_committed(run, run.state.facts.seq)
        return await self._describe(run_id)

    async def _find_ended(
        self, record: RunRecord, how: Collection[ItemRef], items: Collection[int] | None
    ) -> Stretches:
        """The items, all by default, that have ended in these ways."""
        progress, lineage = record.progress, await read_lineage(self._store, record.spec)
        if not progress.failed and not progress.cancelled:
            return ()
        if items is not None:
            places = await find_places(self._store, lineage, items)
            return make_stretches(sorted(index for index, place in places.items() if place.ref & 3 in how))
        found: list[int] = []
        for chunk in range((progress.total - 1) // SEGMENT_ITEMS + 1):
            found += await read_chunk(self._store, lineage, chunk, how)
            await trio.lowlevel.checkpoint()
        return make_stretches(found)

    # --- time travel ---

    async def time_travel(self, params: TimeTravelParams, connection: Connection) -> RunStatus:
        """`runs/timeTravel`: a step and what depends on it go again in a fork; all else that was recorded is re-used.

        Raises:
            RpcError: `RUN_NOT_FOUND`; `INVALID_PARAMS` for a step or items that are not there, or a `context` of
                steps that go again; `CONFLICT` if the run still runs, or an item has no result of what the step needs
                (`data.itemIndex`, `data.missing`), or the `request_id` was used for something else; `NOT_SUSPENDED`
                or `VALIDATION_FAILED` for `resumeData`.
        """
        record = await self._require(params.run_id, params.observability, connection)
        request = read_request(params, connection.plugin or "")
        found = None if request is None else await self._requests.find(request, record)
        if found is None:
            fork, is_new = await self._travel(
                params, request, await self._lookup.require(record.spec.run_id), connection
            )
        else:
            fork, is_new = found.spec.run_id, False
        if params.wait:
            timeout_s = float("inf") if params.timeout_ms is None else params.timeout_ms / 1000
            with parked(), trio.move_on_after(timeout_s):
                await self._store.watch(fork, 0, WatchFor.SETTLED)
        return await self._describe(fork, is_new)

    async def _travel(
        self, params: TimeTravelParams, request: ForkRequest | None, record: RunRecord, connection: Connection
    ) -> tuple[RunId, bool]:
        items = read_items(params.item_indexes, record)
        origin = await self._find_origin(record)
        total = record.progress.total
        everything: Stretches = ((0, total - 1),) if total else ()
        travelling = everything if items is None else make_stretches(sorted(items))
        rule = {
            "step": params.step,
            "input": UNSET if params.input is UNSET else params.input.copy(),
            "resume_data": UNSET if params.resume_data is UNSET else params.resume_data.copy(),
            "context": {step: value.copy() for step, value in (params.context or {}).items()},
        }
        return await self._fork(origin, travelling, rule, request, connection, params.observability)

    async def _find_origin(self, record: RunRecord) -> Origin:
        run_id = record.spec.run_id
        if record.progress.status in TERMINAL_RUN_STATES:
            return Origin(record, {})
        run = self._executor.active(run_id)
        if run is None or record.progress.status is not RunState.SUSPENDED or not run.state.facts.is_quiet:
            message = f"run {run_id} is {record.progress.status} and still runs: wait until it has ended, or cancel it"
            raise conflict(run_id, message)
        parked_at = {seq_of(ref): index for index, ref in run.state.facts.results.iterate_parked()}
        events = await read_events(self._store, run_id, parked_at)
        begun = {event.item: event.since for event in events.values() if isinstance(event, ItemParked)}
        return Origin(record, begun)

    # --- forks ---

    async def _fork(
        self,
        origin: Origin,
        travelling: Stretches,
        rule: Mapping[str, object],
        request: ForkRequest | None,
        connection: Connection,
        observability: Observability | None,
    ) -> tuple[RunId, bool]:
        """The fork that was made, or that the first such request made, and whether it is new."""
        execution = self._connections.find_execution(connection, observability)
        await self._creator.refuse_while_draining(execution)
        spec = self._specify(origin.record, rule, request, connection)
        program = await self._programs.of(spec)
        forked = await self._describe_fork(origin, travelling)
        if rule:
            assert spec.fork is not None
            check_steps(spec.fork, program.plan, origin.record.spec.run_id)
            idle = await check_travel(self._store, program, spec, forked, origin.record, self._reader)
            forked = replace(forked, no_action=max(forked.no_action - idle, 0))
        try:
            result = await self._executor.submit(
                spec, (), sealed=True, program=program, forked=forked, total=origin.record.progress.total
            )
        except StoreUnavailable as error:
            raise refuse_unstored("the fork", error, may_wait=False) from error
        if not isinstance(result, Conflict):
            return spec.run_id, True
        if request is None or result.existing is None:
            raise conflict(origin.record.spec.run_id, result.reason)
        found = await self._requests.find(request, origin.record)
        assert found is not None, result.reason
        return found.spec.run_id, False

    def _specify(
        self, origin: RunRecord, rule: Mapping[str, object], request: ForkRequest | None, connection: Connection
    ) -> RunSpec:
        spec, run_id = origin.spec, self._ids.run_id()
        older = () if spec.fork is None else spec.fork.lineage
        fork = Fork(lineage=(spec.run_id, *older), origin_seq=origin.progress.seq, **rule)  # type: ignore[arg-type]
        return replace(
            spec,
            run_id=run_id,
            root_run_id=run_id,
            depth=1,
            parent=None,
            idempotency=None if request is None else request.key,
            created_by=connection.plugin or None,
            submitted_by=connection.client,
            created_at_ms=self._clock.wall_ms(),
            job_run_id=None,
            webhook=None,
            delay_until_ms=None,
            fork=fork,
        )

    async def _describe_fork(self, origin: Origin, travelling: Stretches) -> RunForked:
        """What a fork keeps of a run, and which items go again in it.

        Raises:
            RpcError: `CONFLICT` if an item that does not travel has not ended.
        """
        run_id, progress = origin.record.spec.run_id, origin.record.progress
        begun = tuple((index, since) for index, since in sorted(origin.begun.items()) if holds(travelling, index))
        if len(begun) < len(origin.begun):
            waiting = [index for index in origin.begun if not holds(travelling, index)][:SHOWN]
            message = f"items of run {run_id} that do not travel keep their results, and item {waiting[0]} has none yet"
            raise conflict(run_id, f"{message}: name it too", itemIndexes=waiting)
        if count(travelling) == progress.total:
            return RunForked(run_id, travelling, begun=begun)
        lineage = await read_lineage(self._store, origin.record.spec)
        indexes = [index for first, last in travelling for index in range(first, last + 1)]
        places = await find_places(self._store, lineage, indexes)
        ended = {index: place for index, place in places.items() if place.ref & 3}
        ends = [place.ref & 3 for place in ended.values()]
        cancelled = progress.cancelled - ends.count(ItemRef.CANCELLED)
        return RunForked(
            run_id,
            travelling,
            success=progress.success - ends.count(ItemRef.SUCCESS),
            failed=progress.failed - ends.count(ItemRef.FAILED),
            cancelled=cancelled,
            no_action=progress.no_action,
            by_request=cancelled > 0 and progress.status is RunState.CANCELLED,
            ordinals=make_stretches(await find_ordinals(self._store, lineage, ended)),
            begun=begun,
        )

    async def _require(self, run_id: str, observability: Observability | None, connection: Connection) -> RunRecord:
        """The run as it is when all that it has decided is durable."""
        self._connections.find_execution(connection, observability)
        record = await self._lookup.find(RunId(run_id))
        record = self._visibility.require(connection, record, run_id, observability)
        run = self._executor.active(record.spec.run_id)
        if run is None:
            return record
        with parked():
            await self._executor.wait_committed(run, run.state.facts.seq)
        return await self._lookup.require(record.spec.run_id)

    async def _describe(self, run_id: RunId, is_new: bool = True) -> RunStatus:
        status = await self._reader.describe(make_status(await self._lookup.require(run_id)))
        status.deduplicated = None if is_new else True
        return status
