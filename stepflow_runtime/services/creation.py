"""How a submission becomes a run, or finds the one that it was before (PROTOCOL §4).

An execution that is executed again finds the sub-runs of its earlier attempts; an idempotency key finds the first run
that had it. All else is checked, resolved, and made durable.
"""

from __future__ import annotations

from typing import Final

import msgspec
import trio

from protocol.errand import Later, in_task
from protocol.errors import ErrorCode, RpcError
from protocol.runs import RunState, SubmitParams
from protocol.types import Observability
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.engine.effects import CHILD_GRACE_S, PARENT_CANCELLED
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.programs import Program, Programs
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.model.secret import NO_SECRETS, Secrets
from stepflow_runtime.model.spec import RunSpec, RunWebhook
from stepflow_runtime.model.trace import begin_trace
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
)
from stepflow_runtime.services.lookup import RunLookup
from stepflow_runtime.services.refusal import RETRY_MS, refuse_unstored
from stepflow_runtime.services.submission import (
    SubmitLimits,
    check_size,
    copy_inputs,
    issue_tokens,
    limit_exceeded,
    make_spec,
    next_child_key,
)
from stepflow_runtime.services.visibility import Visibility
from stepflow_runtime.services.waiting import Waiting

DRAINING_RETRY_MS: Final = 1000
"""When to try again what a runtime that stops refused."""


class RunCreator:
    """Makes runs of submissions.

    Args:
        executor: Executes them.
        store: Holds them.
        programs: Finds their flows.
        lookup: Finds their parents.
        waiting: Is told who waits.
        visibility: Tells what a peer may name.
        clock, ids: The world.
        limits: Of submissions.
        secrets: The values of secret variables; without it none has one.
        is_traced: Whether runs that come without a trace begin one.
    """

    def __init__(
        self,
        executor: Executor,
        store: Store,
        programs: Programs,
        lookup: RunLookup,
        waiting: Waiting,
        visibility: Visibility,
        clock: Clock,
        ids: Ids,
        limits: SubmitLimits,
        secrets: SecretSource | None,
        is_traced: bool = False,
    ) -> None:
        self._is_traced = is_traced
        self._executor = executor
        self._store = store
        self._programs = programs
        self._lookup = lookup
        self._waiting = waiting
        self._visibility = visibility
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._secrets = secrets
        self._descendants: dict[RunId, int] = {}

    async def find_or_create(
        self,
        execution: Execution | None,
        params: SubmitParams,
        principal: str,
        connection: Connection | None,
        secrets: Secrets,
        webhook: RunWebhook | None = None,
    ) -> tuple[RunRecord, bool]:
        """The run of a submission, and whether it is new; if it is, it has this webhook."""
        child_key = next_child_key(execution, params) if execution is not None else None
        record, is_new = await self._find_again(execution, child_key), False
        if record is None:
            record, is_new = await self._create(execution, child_key, params, principal, connection, secrets, webhook)
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
        webhook: RunWebhook | None,
    ) -> tuple[RunRecord, bool]:
        program = await self._programs.get(BlobId(params.flow_id), params.overrides)
        inputs = copy_inputs(params.inputs, self._limits)
        parent = await self._find_parent(execution, params.observability, connection)
        spec = self._specify(params, program, principal, connection, secrets, parent, execution, child_key)
        if webhook is not None:
            spec = msgspec.structs.replace(spec, webhook=webhook)
        if parent is not None or self._executor.is_draining:  # else the commit finds it, and nothing is refused before
            existing = await self._find_idempotent(spec)
            if existing is not None:
                return existing, False
        await self.refuse_while_draining(execution)
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
                await self._find_idempotent(spec)
                if result.existing is None
                else await self._lookup.require(result.existing)
            )
            assert existing is not None, result.reason
            return _check_content(existing, spec), False
        if spec.parent is not None:
            self._executor.child_created(spec.parent, spec.run_id)
            await self._follow_parent(spec, spec.parent.run_id)
        return await self._lookup.require(spec.run_id), True

    def _specify(
        self,
        params: SubmitParams,
        program: Program,
        principal: str,
        connection: Connection | None,
        secrets: Secrets,
        parent: RunSpec | None = None,
        execution: Execution | None = None,
        child_key: str | None = None,
    ) -> RunSpec:
        """What a new run of this submission would be."""
        return make_spec(
            params,
            program,
            run_id=self._ids.run_id(),
            created_at_ms=self._clock.wall_ms(),
            principal=principal,
            client=None if connection is None else connection.client,
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
                limits=self._limits,
            ),
            is_traced=self._is_traced,
            caller=None if connection is None else connection.trace,
        )

    async def freeze(
        self, params: SubmitParams, connection: Connection, job_run_id: str
    ) -> tuple[RunSpec, list[bytes]]:
        """Checks and resolves a submission now, for a run of a job that begins later.

        Returns:
            All that the run will be but its id, and its inputs; for `launch`.

        Raises:
            RpcError: As for a run that begins at once.
        """
        spec = await self.check(params, connection)
        inputs = copy_inputs(params.inputs, self._limits)
        return msgspec.structs.replace(spec, job_run_id=job_run_id), inputs

    async def check(self, params: SubmitParams, connection: Connection) -> RunSpec:
        """What a submission would make now; nothing is made.

        Raises:
            RpcError: As for a run that begins at once.
        """
        program = await self._programs.get(BlobId(params.flow_id), params.overrides)
        check_size(params.inputs, self._limits)
        return self._specify(params, program, connection.plugin or "", connection, NO_SECRETS)

    async def launch(self, frozen: RunSpec, run_id: RunId, inputs: list[bytes]) -> None:
        """Makes a run of what was frozen; there is none with this id yet.

        Raises:
            RpcError: Its flow is gone.
            StoreUnavailable: There is no such run.
        """
        program = await self._programs.get(frozen.flow_id, frozen.overrides)
        now_ms = self._clock.wall_ms()
        trace = begin_trace(run_id) if frozen.trace == begin_trace(frozen.run_id) else frozen.trace
        spec = msgspec.structs.replace(frozen, run_id=run_id, root_run_id=run_id, created_at_ms=now_ms, trace=trace)
        await self._executor.submit(spec, inputs, sealed=True, program=program)

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
            with self._waiting.parked(execution):
                await in_task()
                await trio.sleep(RETRY_MS / 1000)

    async def refuse_while_draining(self, execution: Execution | None) -> None:
        """Nothing is submitted while the runtime drains: whoever can is told to come again.

        An execution waits instead, for the end of its process: after the next start its step goes again.
        """
        if not self._executor.is_draining:
            return
        if execution is not None:
            with self._waiting.parked(execution):
                await Later[None]()  # which never comes
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
        progress = run.state.facts.progress if run is not None else (await self._lookup.require(parent_id)).progress
        if progress.cancel_requested and spec.parent_close_policy == "cancel":
            self._executor.request_cancel(spec.run_id, PARENT_CANCELLED, None, CHILD_GRACE_S)

    async def _find_parent(
        self, execution: Execution | None, observability: Observability | None, connection: Connection | None
    ) -> RunSpec | None:
        run_id = execution.run_id if execution is not None else observability.run_id if observability else None
        record = None if run_id is None else await self._lookup.find(RunId(run_id))
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
        after_error = step is not None and step.component_failures > 0  # even if a process was lost since
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
