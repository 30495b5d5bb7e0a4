"""Runs as peers see them: submit, get, append, cancel, delete (PROTOCOL §4).

A request that an execution makes while it waits takes no server slot, and one that only waits is parked.
"""

from __future__ import annotations

from typing import Final

import trio

from protocol.errand import in_task
from protocol.errors import ErrorCode, RpcError
from protocol.handling import NOTHING, let_go_of_params
from protocol.runs import (
    AppendParams,
    AppendResult,
    CancelOutcome,
    CancelRunParams,
    CancelRunResult,
    GetRunParams,
    RegisteredWebhook,
    ResultOrder,
    RunParams,
    RunState,
    RunStatus,
    RunWebhookParams,
    SubmitParams,
    WaitFor,
)
from protocol.types import Empty
from stepflow_runtime.connect.connection import Connection, Connections
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.inputs import split_segment
from stepflow_runtime.engine.programs import Programs
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.secret import NO_SECRETS, Secrets
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import (
    Clock,
    Execution,
    Ids,
    RunProgress,
    RunRecord,
    SecretSource,
    Store,
    StoreUnavailable,
    WatchFor,
)
from stepflow_runtime.services.automation.webhooks import WebhookAdmission, WebhookService
from stepflow_runtime.services.cancelling import cancel_items, cancel_run
from stepflow_runtime.services.creation import RunCreator
from stepflow_runtime.services.lookup import RunLookup
from stepflow_runtime.services.refusal import refuse_unstored
from stepflow_runtime.services.results import Page, read_by_completion, read_by_index
from stepflow_runtime.services.status import make_status, run_not_found
from stepflow_runtime.services.submission import (
    SubmitLimits,
    copy_inputs,
)
from stepflow_runtime.services.suspensions import SuspensionReader
from stepflow_runtime.services.visibility import Visibility
from stepflow_runtime.services.waiting import Waiting

ANSWER_MARGIN: Final = 64 * 1024
"""Of a frame, kept for what an answer holds besides results."""

DEFAULT_GRACE_MS: Final = 5000


class RunService:
    """Submits runs and tells about them.

    Args:
        executor: Executes them.
        store: Holds them.
        programs: Finds their flows.
        connections: Tells which execution a request belongs to.
        clock, ids: The world.
        limits: Of submissions.
        max_frame_bytes: Of one answer.
        secrets: The values of secret variables; without it none has one.
        webhooks: Admits the webhooks of runs; without it they may have none.

    Attributes:
        creator: Makes runs, also for jobs and schedules.
        suspensions: Tells what waits in runs.
    """

    def __init__(
        self,
        executor: Executor,
        store: Store,
        programs: Programs,
        connections: Connections,
        clock: Clock,
        ids: Ids,
        limits: SubmitLimits,
        max_frame_bytes: int,
        secrets: SecretSource | None = None,
        webhooks: WebhookService | None = None,
        is_traced: bool = False,
    ) -> None:
        self._webhooks = webhooks
        self._executor = executor
        self._store = store
        self._connections = connections
        self._visibility = Visibility(connections)
        self._waiting = Waiting(executor)
        self._lookup = RunLookup(executor, store)
        self.creator = RunCreator(
            executor,
            store,
            programs,
            self._lookup,
            self._waiting,
            self._visibility,
            clock,
            ids,
            limits,
            secrets,
            is_traced,
        )
        self.suspensions = SuspensionReader(executor, store, limits.max_schema_steps)
        self._limits = limits
        self._max_answer_bytes = max_frame_bytes - ANSWER_MARGIN

    # --- submit ---

    async def submit(self, params: SubmitParams, connection: Connection) -> RunStatus:
        """`runs/submit`."""
        execution = self._connections.find_execution(connection, params.observability)
        with self._waiting.unattributed(connection, execution, bool(params.wait)):
            return await self.submit_for(execution, params, connection.plugin or "", connection)

    async def submit_for(
        self,
        execution: Execution | None,
        params: SubmitParams,
        principal: str,
        connection: Connection | None = None,
        secrets: Secrets = NO_SECRETS,
    ) -> RunStatus:
        """Submits a run for an execution, or for nobody.

        Args:
            execution: Whose sub-run it becomes.
            params: As they came.
            principal: The plugin that submits; empty for a client.
            connection: Whose sight bounds what the submission may name; the built-in components see all.
            secrets: What tokens in the inputs stand for.

        Raises:
            RpcError: `NOT_FOUND` (flow), `VALIDATION_FAILED`, `LIMIT_EXCEEDED`, `CONFLICT` (idempotency key),
                `THROTTLED` (the runtime stops), `INTERNAL_ERROR` (nothing can be stored).

        Cancellation: the run goes on, if it was made durable.
        """
        with self._waiting.parked(execution) if params.wait else NOTHING:  # a wait that is refused leaves no run behind
            webhook = self._admit_webhook(params.webhook)
            record, is_new = await self.creator.find_or_create(
                execution, params, principal, connection, secrets, None if webhook is None else webhook.kept
            )
            _let_go(params)
            if params.wait:
                record = await self._wait(record.spec.run_id, params.timeout_ms, params.wait_for)
        status = await self._describe(record)
        if params.wait and record.progress.status in TERMINAL_RUN_STATES:
            _attach(status, await self._read(record, ResultOrder.BY_INDEX, 0, None))
        status.deduplicated = None if is_new else True
        if webhook is not None and is_new:
            status.webhook = RegisteredWebhook(status.run_id, webhook.secret)
        return status

    def _admit_webhook(self, params: RunWebhookParams | None) -> WebhookAdmission | None:
        if params is None:
            return None
        if self._webhooks is None:
            raise RpcError(ErrorCode.INVALID_PARAMS, "this runtime sends no webhooks; leave it out", path="$.webhook")
        return self._webhooks.admit(params)

    # --- get ---

    async def get(self, params: GetRunParams, connection: Connection) -> RunStatus:
        """`runs/get`."""
        try:
            execution = self._connections.find_execution(connection, params.observability)
        except RpcError:  # who reads need not be current
            execution = None
        with self._waiting.unattributed(connection, execution, bool(params.wait)):
            return await self.get_for(execution, params, connection)

    async def get_for(
        self, execution: Execution | None, params: GetRunParams, connection: Connection | None = None
    ) -> RunStatus:
        """Reads a run for an execution, or for nobody; see `submit_for`."""
        record = await self._lookup.require(RunId(params.run_id))
        if connection is not None:
            self._visibility.require(connection, record, params.run_id, params.observability)
        if params.wait and record.progress.status not in TERMINAL_RUN_STATES:
            with self._waiting.parked(execution):
                record = await self._wait(record.spec.run_id, params.timeout_ms, params.wait_for)
        status = await self._describe(record)
        if params.include_results:
            order = params.result_order or ResultOrder.BY_INDEX
            _attach(status, await self._read(record, order, params.result_offset or 0, params.result_limit))
        return status

    async def _describe(self, record: RunRecord) -> RunStatus:
        status = make_status(record, awaits_store=self._executor.awaits_store(record.spec.run_id))
        return await self.suspensions.describe(status)

    async def _wait(self, run_id: RunId, timeout_ms: int | None = None, wait_for: WaitFor | None = None) -> RunRecord:
        """The run once it has ended, or settled, as the commit left it that did so; or when the time is over."""
        record = await self._lookup.require(run_id)
        until = WatchFor.SETTLED if wait_for is WaitFor.SETTLED else WatchFor.TERMINAL
        if timeout_ms is None:
            return _bring_up_to(record, await self._store.watch(run_id, 0, until))
        await in_task()
        with trio.move_on_after(timeout_ms / 1000):
            return _bring_up_to(record, await self._store.watch(run_id, 0, until))
        return await self._lookup.require(run_id)

    async def _read(self, record: RunRecord, order: ResultOrder, offset: int, limit: int | None) -> Page:
        spec, total = record.spec, record.progress.total
        limit = total if limit is None else limit
        if order is ResultOrder.BY_COMPLETION:
            return await read_by_completion(self._store, spec, offset, limit, self._max_answer_bytes)
        return await read_by_index(self._store, spec, offset, limit, total, self._max_answer_bytes)

    # --- append, cancel, delete ---

    async def append(self, params: AppendParams, connection: Connection) -> AppendResult:
        """`runs/append`: a repeat with the same content gives the first answer."""
        run_id = RunId(params.run_id)
        execution = self._connections.find_execution(connection, params.observability)
        inputs = copy_inputs(params.inputs, self._limits)
        end = params.at_index + len(inputs)
        run = self._executor.active(run_id)
        record = self._visibility.require(connection, await self._lookup.find(run_id), run_id, params.observability)
        progress = record.progress if run is None else run.state.facts.progress
        if run is not None and not progress.sealed and params.at_index == progress.total:
            await self.creator.refuse_while_draining(execution)
            await self._executor.append(run, inputs, sealed=bool(params.sealed))
            return AppendResult(end)
        is_repeat = end <= progress.total and (progress.sealed or not params.sealed)
        if run is not None and is_repeat:
            await self._executor.wait_committed(run, run.state.facts.seq)
        if is_repeat and await self._holds(run_id, params.at_index, inputs):
            return AppendResult(end)
        why = "it is sealed" if progress.sealed else f"atIndex must be {progress.total}, the total so far"
        raise RpcError(
            ErrorCode.CONFLICT, f"nothing was appended to run {run_id}: {why}", total=progress.total, runId=run_id
        )

    async def _holds(self, run_id: RunId, index: int, inputs: list[bytes]) -> bool:
        end = index + len(inputs)
        while index < end:
            segment = await self._store.inputs(run_id, index)
            if segment is None:
                return False
            stored = split_segment(segment)[index - segment.first_index :][: end - index]
            if stored != inputs[len(inputs) - (end - index) :][: len(stored)]:
                return False
            index += len(stored)
        return True

    async def cancel(self, params: CancelRunParams, connection: Connection) -> CancelRunResult:
        """`runs/cancel`: answers after the terminal commit; on an ended run it changes nothing."""
        run_id = RunId(params.run_id)
        self._connections.find_execution(connection, params.observability)
        record = self._visibility.require(connection, await self._lookup.find(run_id), run_id, params.observability)
        items = params.item_indexes
        if items is not None and (not items or max(items) >= record.progress.total):
            raise RpcError(
                ErrorCode.INVALID_PARAMS,
                f"itemIndexes must name items of the run, 0 to {record.progress.total - 1}",
                path="$.itemIndexes",
                runId=run_id,
            )
        was = record.progress.status
        if was in TERMINAL_RUN_STATES:
            outcome = CancelOutcome.ALREADY_CANCELLED if was is RunState.CANCELLED else CancelOutcome.NOT_CANCELLABLE
            return CancelRunResult(outcome, make_status(record))
        grace_ms = DEFAULT_GRACE_MS if params.grace_ms is None else params.grace_ms
        executor, store = self._executor, self._store
        if items is None:
            outcome = await cancel_run(executor, store, run_id, params.reason, grace_ms / 1000)
            record = await self._wait(run_id)
        else:
            outcome = await cancel_items(executor, store, record.spec, items, params.reason, grace_ms / 1000)
            record = await self._lookup.require(run_id)
        return CancelRunResult(outcome, make_status(record))

    async def delete(self, params: RunParams, connection: Connection) -> Empty:
        """`runs/delete`: an ended run and its descendants, which must have ended too, and be needed by no fork."""
        run_id = RunId(params.run_id)
        self._connections.find_execution(connection, params.observability)
        doomed = [self._visibility.require(connection, await self._lookup.find(run_id), run_id, params.observability)]
        for record in doomed:
            if record.progress.status not in TERMINAL_RUN_STATES or self._executor.active(record.spec.run_id):
                raise RpcError(
                    ErrorCode.CONFLICT,
                    f"run {record.spec.run_id} has not ended: cancel it first, or wait",
                    runId=record.spec.run_id,
                )
            doomed.extend(await self._store.children(record.spec.run_id))
        try:
            await self._store.delete([record.spec.run_id for record in doomed])
        except StoreUnavailable as error:
            raise refuse_unstored("the deletion", error, may_wait=False) from error
        except ValueError as error:  # a fork needs one of them
            raise RpcError(ErrorCode.CONFLICT, str(error), runId=run_id) from error
        return Empty()


def _let_go(params: SubmitParams) -> None:
    """Drops what a submission brought, once the run has it: who waits holds little memory, however much that was."""
    params.inputs, params.variables, params.overrides = [], None, None
    let_go_of_params()


def _bring_up_to(record: RunRecord, progress: RunProgress | None) -> RunRecord:
    if progress is None:
        raise run_not_found(record.spec.run_id)
    return RunRecord(record.spec, progress)


def _attach(status: RunStatus, page: Page) -> None:
    status.results = page.entries
    status.next_offset = page.next_offset
