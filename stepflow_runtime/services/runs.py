"""Runs as peers see them: submit, get, append, cancel, delete (PROTOCOL §4).

A request that an execution makes while it waits takes no server slot, and one that only waits is parked.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import Final

import structlog
import trio

from protocol.errors import ErrorCode, RpcError
from protocol.handling import parked
from protocol.types import (
    AppendParams,
    AppendResult,
    CancelOutcome,
    CancelRunParams,
    CancelRunResult,
    Empty,
    GetRunParams,
    Observability,
    ResultOrder,
    RunParams,
    RunState,
    RunStatus,
    SubmitParams,
)
from stepflow_runtime.connect.connection import Connection, Connections
from stepflow_runtime.engine.effects import CHILD_GRACE_S, PARENT_CANCELLED
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.inputs import split_segment
from stepflow_runtime.engine.programs import Program, Programs
from stepflow_runtime.model.events import RetryCause, RunSpec
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.model.secret import NO_SECRETS, Secrets
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import (
    Clock,
    CommitResult,
    Committed,
    Conflict,
    Execution,
    Ids,
    RunFilter,
    RunRecord,
    SecretSource,
    Store,
    StoreUnavailable,
    WatchFor,
)
from stepflow_runtime.services.refusal import RETRY_MS, refuse_unstored
from stepflow_runtime.services.results import Page, read_by_completion, read_by_index
from stepflow_runtime.services.status import make_status, run_not_found
from stepflow_runtime.services.submission import (
    SubmitLimits,
    copy_inputs,
    issue_tokens,
    limit_exceeded,
    make_spec,
    next_child_key,
)
from stepflow_runtime.services.visibility import Visibility

ANSWER_MARGIN: Final = 64 * 1024
"""Of a frame, kept for what an answer holds besides results."""

DEFAULT_GRACE_MS: Final = 5000

DRAINING_RETRY_MS: Final = 1000
"""When to try again what a runtime that stops refused."""

log = structlog.get_logger(__name__)


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
    ) -> None:
        self._executor = executor
        self._store = store
        self._programs = programs
        self._connections = connections
        self._visibility = Visibility(connections)
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._secrets = secrets
        self._max_answer_bytes = max_frame_bytes - ANSWER_MARGIN
        self._descendants: dict[RunId, int] = {}

    # --- submit ---

    async def submit(self, params: SubmitParams, connection: Connection) -> RunStatus:
        """`runs/submit`."""
        execution = self._connections.find_execution(connection, params.observability)
        with self._unattributed(connection, execution, bool(params.wait)):
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
        with self._parked(execution) if params.wait else nullcontext():  # a wait that is refused leaves no run behind
            record, is_new = await self._find_or_create(execution, params, principal, connection, secrets)
            if params.wait:
                record = await self._wait(record.spec.run_id, params.timeout_ms)
        status = make_status(record)
        if params.wait and record.progress.status in TERMINAL_RUN_STATES:
            _attach(status, await self._read(record, ResultOrder.BY_INDEX, 0, None))
        status.deduplicated = None if is_new else True
        return status

    async def _find_or_create(
        self,
        execution: Execution | None,
        params: SubmitParams,
        principal: str,
        connection: Connection | None,
        secrets: Secrets,
    ) -> tuple[RunRecord, bool]:
        """The run of a submission, and whether it is new."""
        child_key = next_child_key(execution, params) if execution is not None else None
        record, is_new = await self._find_again(execution, child_key), False
        if record is None:
            record, is_new = await self._create(execution, child_key, params, principal, connection, secrets)
        if execution is not None and child_key is not None:
            execution.claims = {**(execution.claims or {}), child_key: record.spec.run_id}
        return record, is_new

    async def _create(
        self,
        execution: Execution | None,
        child_key: str | None,
        params: SubmitParams,
        principal: str,
        connection: Connection | None,
        secrets: Secrets,
    ) -> tuple[RunRecord, bool]:
        program = await self._programs.get(BlobId(params.flow_id), params.overrides)
        inputs = copy_inputs(params.inputs, self._limits)
        parent = await self._find_parent(execution, params.observability, connection)
        spec = make_spec(
            params,
            program,
            run_id=self._ids.run_id(),
            created_at_ms=self._clock.wall_ms(),
            principal=principal,
            parent=parent,
            execution=execution,
            child_key=child_key,
            limits=self._limits,
            secrets=issue_tokens(
                program,
                self._secrets,
                secrets,
                is_trusted=connection is not None and connection.role != "server",
                make_id=self._ids.execution_id,
            ),
        )
        existing = await self._find_idempotent(spec)
        if existing is not None:
            return existing, False
        await self._refuse_while_draining(execution)
        if parent is not None:
            self._refuse_if_stopping(parent)
            await self._count_descendant(parent.root_run_id)
        result: CommitResult | None = None
        try:
            result = await self._store_run(spec, inputs, params.sealed is not False, program, execution)
        except StoreUnavailable as error:
            raise refuse_unstored("the run", error, may_wait=bool(principal)) from error
        finally:
            if parent is not None and not isinstance(result, Committed):
                self._descendants[parent.root_run_id] -= 1
        if isinstance(result, Conflict):
            existing = (
                await self._find_idempotent(spec) if result.existing is None else await self._require(result.existing)
            )
            assert existing is not None, result.reason
            return _check_content(existing, spec), False
        if spec.parent is not None:
            self._executor.child_created(spec.parent, spec.run_id)
            await self._follow_parent(spec, spec.parent.run_id)
        return await self._require(spec.run_id), True

    async def _store_run(
        self, spec: RunSpec, inputs: list[bytes], sealed: bool, program: Program, execution: Execution | None
    ) -> CommitResult:
        """Makes a run durable; for an execution as soon as that can be done, under the key that it has now."""
        while True:
            try:
                return await self._executor.submit(spec, inputs, sealed=sealed, program=program)
            except StoreUnavailable:
                if execution is None:
                    raise
            with self._parked(execution):
                await trio.sleep(RETRY_MS / 1000)

    async def _refuse_while_draining(self, execution: Execution | None) -> None:
        """Nothing is submitted while the runtime drains: whoever can is told to come again.

        An execution waits instead, for the end of its process: after the next start its step goes again.
        """
        if not self._executor.is_draining:
            return
        if execution is not None:
            with self._parked(execution):
                await trio.sleep_forever()
        message = "the runtime is stopping and takes nothing new: submit it again when it is back"
        raise RpcError(ErrorCode.THROTTLED, message, retryAfterMs=DRAINING_RETRY_MS)

    def _refuse_if_stopping(self, parent: RunSpec) -> None:
        run = self._executor.active(parent.run_id)
        if run is not None and run.state.is_stopping:
            message = f"run {parent.run_id} is being cancelled and submits nothing any more: stop this work"
            raise RpcError(ErrorCode.NOT_CURRENT, message, runId=parent.run_id)

    async def _follow_parent(self, spec: RunSpec, parent_id: RunId) -> None:
        """Cancels a new run whose parent was cancelled while it was created: too late for the parent's message."""
        run = self._executor.active(parent_id)
        progress = run.state.facts.progress if run is not None else (await self._require(parent_id)).progress
        if progress.cancel_requested and spec.parent_close_policy == "cancel":
            self._executor.request_cancel(spec.run_id, PARENT_CANCELLED, None, CHILD_GRACE_S)

    async def _find_parent(
        self, execution: Execution | None, observability: Observability | None, connection: Connection | None
    ) -> RunSpec | None:
        run_id = execution.run_id if execution is not None else observability.run_id if observability else None
        record = None if run_id is None else await self._find(RunId(run_id))
        if record is None:
            return None
        if execution is None and connection is not None and not self._visibility.sees(connection, record.spec):
            return None  # as if there were no such run
        return record.spec

    async def _find_again(self, execution: Execution | None, child_key: str | None) -> RunRecord | None:
        """The sub-run that an earlier attempt submitted under this key, if it is to be used again."""
        if execution is None or child_key is None or execution.attempt == 1:
            return None
        child = await self._store.child(execution.run_id, execution.item_index, execution.step_id, child_key)
        run = self._executor.active(execution.run_id)
        step = run.state.current(execution.item_index, execution.step_id, execution.attempt) if run else None
        after_error = step is not None and step.cause is RetryCause.COMPONENT
        if child is not None and after_error and child.progress.status in (RunState.FAILED, RunState.CANCELLED):
            return None
        return child

    async def _find_idempotent(self, spec: RunSpec) -> RunRecord | None:
        if spec.idempotency is None:
            return None
        record = await self._store.run_by_idempotency_key(spec.idempotency.principal, spec.idempotency.key)
        return None if record is None else _check_content(record, spec)

    async def _count_descendant(self, root: RunId) -> None:
        """Counts a run against `maxDescendants` of its root; the first time what the store has is counted."""
        count = self._descendants.get(root)
        if count is None:
            self._descendants = {known: n for known, n in self._descendants.items() if self._executor.active(known)}
            count = await count_descendants(self._store, root, self._limits.max_descendants)
        if count >= self._limits.max_descendants:
            name, limit = "maxDescendants", self._limits.max_descendants
            raise limit_exceeded(name, limit, count + 1, "the tree of runs has too many descendants", runId=root)
        self._descendants[root] = count + 1

    # --- get ---

    async def get(self, params: GetRunParams, connection: Connection) -> RunStatus:
        """`runs/get`."""
        try:
            execution = self._connections.find_execution(connection, params.observability)
        except RpcError:  # who reads need not be current
            execution = None
        with self._unattributed(connection, execution, bool(params.wait)):
            return await self.get_for(execution, params, connection)

    async def get_for(
        self, execution: Execution | None, params: GetRunParams, connection: Connection | None = None
    ) -> RunStatus:
        """Reads a run for an execution, or for nobody; see `submit_for`."""
        record = await self._require(RunId(params.run_id))
        if connection is not None:
            self._visibility.require(connection, record, params.run_id, params.observability)
        if params.wait and record.progress.status not in TERMINAL_RUN_STATES:
            with self._parked(execution):
                record = await self._wait(record.spec.run_id, params.timeout_ms)
        status = make_status(record)
        if params.include_results:
            order = params.result_order or ResultOrder.BY_INDEX
            _attach(status, await self._read(record, order, params.result_offset or 0, params.result_limit))
        return status

    async def _wait(self, run_id: RunId, timeout_ms: int | None) -> RunRecord:
        with trio.move_on_after(float("inf") if timeout_ms is None else timeout_ms / 1000):
            return await self._ended(run_id)
        return await self._require(run_id)

    async def _ended(self, run_id: RunId) -> RunRecord:
        """The run once it has ended, as the commit left it that ended it."""
        record = await self._require(run_id)
        progress = await self._store.watch(run_id, 0, WatchFor.TERMINAL)
        if progress is None:
            raise run_not_found(run_id)
        return RunRecord(record.spec, progress)

    @contextmanager
    def _parked(self, execution: Execution | None) -> Generator[None]:
        with parked():
            if execution is None:
                yield
                return
            self._executor.caller.park(execution)
            self._executor.end_turn()
            try:
                yield
            finally:
                self._executor.caller.unpark(execution)

    @contextmanager
    def _unattributed(self, connection: Connection, execution: Execution | None, waits: bool) -> Generator[None]:
        """Frees a server's slot while it waits and does not say for which execution: one of them does."""
        server = connection.server
        if not waits or execution is not None or server is None:
            yield
            return
        server.load -= 1
        self._executor.caller.flush()
        try:
            yield
        finally:
            server.load += 1

    async def _read(self, record: RunRecord, order: ResultOrder, offset: int, limit: int | None) -> Page:
        run_id, total = record.spec.run_id, record.progress.total
        limit = total if limit is None else limit
        if order is ResultOrder.BY_COMPLETION:
            return await read_by_completion(self._store, run_id, offset, limit, self._max_answer_bytes)
        return await read_by_index(self._store, run_id, offset, limit, total, self._max_answer_bytes)

    async def _find(self, run_id: RunId) -> RunRecord | None:
        return self._executor.record(run_id) or await self._store.run(run_id)

    async def _require(self, run_id: RunId) -> RunRecord:
        record = await self._find(run_id)
        if record is None:
            raise run_not_found(run_id)
        return record

    # --- append, cancel, delete ---

    async def append(self, params: AppendParams, connection: Connection) -> AppendResult:
        """`runs/append`: a repeat with the same content gives the first answer."""
        run_id = RunId(params.run_id)
        execution = self._connections.find_execution(connection, params.observability)
        inputs = copy_inputs(params.inputs, self._limits)
        end = params.at_index + len(inputs)
        run = self._executor.active(run_id)
        record = self._visibility.require(connection, await self._find(run_id), run_id, params.observability)
        progress = record.progress if run is None else run.state.facts.progress
        if run is not None and not progress.sealed and params.at_index == progress.total:
            await self._refuse_while_draining(execution)
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
        record = self._visibility.require(connection, await self._find(run_id), run_id, params.observability)
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
        self._executor.request_cancel(run_id, params.reason, items, grace_ms / 1000)
        cancelled_before = record.progress.cancelled
        with parked():
            if items is None:
                record = await self._ended(run_id)
            else:
                await self._executor.wait_items_ended(run_id, items)
                record = await self._require(run_id)
        is_cancelled = record.progress.cancelled > cancelled_before or record.progress.status is RunState.CANCELLED
        return CancelRunResult(
            CancelOutcome.CANCELLED if is_cancelled else CancelOutcome.NOT_CANCELLABLE, make_status(record)
        )

    async def delete(self, params: RunParams, connection: Connection) -> Empty:
        """`runs/delete`: an ended run and its descendants, which must have ended too."""
        run_id = RunId(params.run_id)
        self._connections.find_execution(connection, params.observability)
        doomed = [self._visibility.require(connection, await self._find(run_id), run_id, params.observability)]
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
        return Empty()


def _attach(status: RunStatus, page: Page) -> None:
    status.results = page.entries
    status.next_offset = page.next_offset


def _check_content(record: RunRecord, spec: RunSpec) -> RunRecord:
    """The run that has the key already, if the same was meant."""
    ours, theirs = spec.idempotency, record.spec.idempotency
    if ours is not None and theirs is not None and ours.content != theirs.content:
        raise RpcError(
            ErrorCode.CONFLICT,
            f"the idempotencyKey {ours.key!r} was used for another submission: use a new key",
            runId=record.spec.run_id,
        )
    return record


async def count_descendants(store: Store, root: RunId, enough: int) -> int:
    """How many runs a root has beneath it, counted up to `enough`."""
    count, before = -1, None
    while count < enough:
        page = await store.runs(RunFilter(root_run_id=root), before, 1000)
        if not page:
            break
        count += len(page)
        before = page[-1].spec.run_id
    return max(count, 0)
