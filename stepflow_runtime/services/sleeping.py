"""Sleeps, their end before time, and pauses (PROTOCOL §4)."""

from __future__ import annotations

from protocol.errors import ErrorCode, RpcError
from protocol.handling import parked
from protocol.runs import RunParams, RunStatus, SleepParams, SleepResult, WakeUpParams, WakeUpResult
from stepflow_runtime.connect.connection import Connection, Connections
from stepflow_runtime.engine.active_run import ActiveRun
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import Clock, Execution, RunRecord, Store
from stepflow_runtime.services.lookup import RunLookup
from stepflow_runtime.services.status import make_status, parse_time, run_not_found
from stepflow_runtime.services.suspensions import SuspensionReader
from stepflow_runtime.services.visibility import Visibility
from stepflow_runtime.services.waiting import Waiting


class SleepService:
    """Lets executions sleep, wakes them up, and pauses runs.

    Args:
        executor: Executes the runs.
        store: Holds them.
        connections: Tells which execution a request belongs to.
        clock: The world's.
        reader: Tells what is suspended.
    """

    def __init__(
        self, executor: Executor, store: Store, connections: Connections, clock: Clock, reader: SuspensionReader
    ) -> None:
        self._executor = executor
        self._connections = connections
        self._visibility = Visibility(connections)
        self._lookup = RunLookup(executor, store)
        self._waiting = Waiting(executor)
        self._clock = clock
        self._reader = reader

    async def sleep(self, params: SleepParams, connection: Connection) -> SleepResult:
        """`runs/sleep`: an execution sleeps; one that is executed again sleeps for the rest.

        Raises:
            RpcError: `NOT_CURRENT` if it is no execution that asks, or one that has ended.
        """
        execution = self._connections.find_execution(connection, params.observability)
        if params.run_id is not None and (execution is None or execution.run_id != params.run_id):
            raise run_not_found(params.run_id)
        if execution is None:
            message = "only a component sleeps: send the observability that it was executed with"
            raise RpcError(ErrorCode.NOT_CURRENT, message)
        until_ms = self._read_end(params)
        key = _next_key(execution, params)
        with self._waiting.parked(execution):
            return SleepResult(await self._executor.waking.sleep(execution, key, until_ms, params.correlation_id))

    def _read_end(self, params: SleepParams) -> int:
        if (params.duration_ms is None) == (params.until is None):
            raise RpcError(ErrorCode.INVALID_PARAMS, "give one of durationMs and until", path="$.durationMs")
        if params.duration_ms is not None:
            return self._clock.wall_ms() + params.duration_ms
        assert params.until is not None
        return parse_time(params.until, "until")

    async def wake_up(self, params: WakeUpParams, connection: Connection) -> WakeUpResult:
        """`runs/wakeUp`: ends sleeps before their time, those of these correlation ids or all of the run."""
        record = await self._require(params.run_id, connection, params)
        run = self._executor.active(record.spec.run_id)
        if run is None:
            return WakeUpResult(0)
        count = self._executor.waking.wake_up(run, params.correlation_ids)
        await self._wait_durable(run)
        return WakeUpResult(count)

    async def pause(self, params: RunParams, connection: Connection) -> RunStatus:
        """`runs/pause`: nothing begins any more between steps; what is in flight may end."""
        return await self._set_pause(params, connection, is_on=True)

    async def unpause(self, params: RunParams, connection: Connection) -> RunStatus:
        """`runs/unpause`: what was held back begins."""
        return await self._set_pause(params, connection, is_on=False)

    async def _set_pause(self, params: RunParams, connection: Connection, *, is_on: bool) -> RunStatus:
        record = await self._require(params.run_id, connection, params)
        run_id = record.spec.run_id
        run = self._executor.active(run_id)
        if run is None or run.state.facts.is_terminal or record.progress.status in TERMINAL_RUN_STATES:
            raise RpcError(ErrorCode.CONFLICT, f"run {run_id} has ended: there is nothing to pause", runId=run_id)
        self._executor.waking.set_pause(run, is_on=is_on)
        await self._wait_durable(run)
        return await self._reader.describe(make_status(await self._lookup.require(run_id)))

    async def _require(self, run_id: str, connection: Connection, params: RunParams | WakeUpParams) -> RunRecord:
        self._connections.find_execution(connection, params.observability)
        record = await self._lookup.find(RunId(run_id))
        return self._visibility.require(connection, record, run_id, params.observability)

    async def _wait_durable(self, run: ActiveRun) -> None:
        with parked():
            await self._executor.wait_committed(run, run.state.facts.seq)


def _next_key(execution: Execution, params: SleepParams) -> str:
    """Under which an attempt finds the sleep again: its correlation id, and which of that it is."""
    name = f"sleep/{params.correlation_id or ''}"
    counts = execution.submissions = execution.submissions or {}
    counts[name] = counts.get(name, 0) + 1
    return f"{params.correlation_id or ''}/{counts[name]}"
