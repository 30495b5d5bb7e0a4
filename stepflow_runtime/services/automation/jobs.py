"""Jobs: several runs, one after the other; a failure stops the rest (PROTOCOL §4, `jobs/*`).

A job is frozen when it is submitted: flows, overrides and variables of all its runs are resolved and stored then. How
it goes on is the business of `job_following`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Final

import trio
from blake3 import blake3
from msgspec import Raw

from protocol.automation import (
    CancelJobParams,
    GetJobParams,
    JobRunStatus,
    JobStatus,
    ListJobsParams,
    ListJobsResult,
    RunTemplate,
    SubmitJobParams,
)
from protocol.errors import ErrorCode, RpcError
from protocol.runs import SubmitParams
from protocol.types import Observability
from stepflow_runtime.connect.connection import Connection, Connections
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import Clock, Execution, Ids, Kind, Registry, Store, StoreUnavailable
from stepflow_runtime.services.automation.job_following import (
    DEFAULT_GRACE_MS,
    FrozenRun,
    Job,
    JobFollower,
    JobRun,
    decode_job,
    freeze_entry,
    make_job_entry,
)
from stepflow_runtime.services.creation import RunCreator
from stepflow_runtime.services.lookup import RunLookup
from stepflow_runtime.services.refusal import add_certainly, refuse_unstored
from stepflow_runtime.services.requests import Request, find_made
from stepflow_runtime.services.status import decode_text_cursor, encode_cursor, format_time, make_counts
from stepflow_runtime.services.submission import SubmitLimits, idempotent_content, limit_exceeded
from stepflow_runtime.services.waiting import Waiting

DEFAULT_LIMIT: Final = 100


class JobService:
    """Submits jobs, follows them, and tells about them.

    Args:
        executor: Executes their runs.
        store, registry: Hold runs and jobs.
        creator: Makes the runs.
        connections: Tells which execution a request belongs to.
        clock, ids: The world.
        limits: Of submissions.

    Attributes:
        run: Follows jobs until cancelled.
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
        limits: SubmitLimits,
    ) -> None:
        self._executor = executor
        self._registry = registry
        self._creator = creator
        self._connections = connections
        self._waiting = Waiting(executor)
        self._lookup = RunLookup(executor, store)
        self._follower = JobFollower(executor, store, registry, creator, self._lookup, clock, ids)
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self.run = self._follower.run

    # --- what peers ask ---

    async def submit(self, params: SubmitJobParams, connection: Connection) -> JobStatus:
        """`jobs/submit`.

        Raises:
            RpcError: As `runs/submit` would for one of the runs; then there is no job, and none of the runs begins.
        """
        execution = self._connections.find_execution(connection, params.observability)
        with (
            self._waiting.unattributed(connection, execution, bool(params.wait)),
            self._waiting.parked(execution) if params.wait else nullcontext(),
        ):  # a wait that is refused leaves no job behind
            await self._creator.refuse_while_draining(execution)
            job, is_new = await self._find_or_create(params, connection)
            if params.wait:
                await self._wait(job, params.timeout_ms)
        return await self._describe(job, deduplicated=None if is_new else True)

    async def _find_or_create(self, params: SubmitJobParams, connection: Connection) -> tuple[Job, bool]:
        """The job of a submission, and whether it is new."""
        if len(params.runs) > self._limits.max_job_runs:
            why = "a job has too many runs; submit several jobs"
            raise limit_exceeded("maxJobRuns", self._limits.max_job_runs, len(params.runs), why)
        job_id, principal = self._ids.run_id(), connection.plugin or ""
        submissions = [make_submission(template) for template in params.runs]
        frozen = [
            await self._freeze(index, submission, job_id, connection) for index, submission in enumerate(submissions)
        ]
        specs = [run.spec for run in frozen]
        job = Job(
            job_run_id=job_id,
            name=params.name,
            created_by=principal or None,
            created_at_ms=self._clock.wall_ms(),
            runs=[JobRun(flow_id=s.flow_id, flow_name=s.flow_name, flow_label=s.flow_label) for s in specs],
        )
        entries = [make_job_entry(job), *[freeze_entry(job_id, index, run) for index, run in enumerate(frozen)]]
        request = None
        if params.idempotency_key is not None:
            request = Request(Kind.JOB_KEY, principal, params.idempotency_key, _hash(submissions))
            entries.append(request.make_key(job_id))
        try:
            is_new = await add_certainly(self._registry, entries)
        except StoreUnavailable as error:
            raise refuse_unstored("the job", error, may_wait=bool(principal)) from error
        if not is_new:
            assert request is not None, "only a key can be there already"
            return await self._find_made(request), False
        self._follower.begin(job)
        return job, True

    async def get(self, params: GetJobParams, connection: Connection) -> JobStatus:
        """`jobs/get`."""
        job = await self._require(params.job_run_id, connection)
        if params.wait:
            with self._waiting.parked(self._find_execution(connection, params.observability)):
                await self._wait(job, params.timeout_ms)
        return await self._describe(job)

    async def list(self, params: ListJobsParams, connection: Connection) -> ListJobsResult:
        """`jobs/list`: newest first, without the counts of items."""
        limit = params.limit or DEFAULT_LIMIT
        found = await self._registry.entries(Kind.JOB, decode_text_cursor(params.cursor), limit + 1)
        more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
        jobs = [self._follower.live.get(entry.id) or decode_job(entry) for entry in found[:limit]]
        return ListJobsResult([self._make_status(job) for job in jobs if _may_see(connection, job)], more)

    async def cancel(self, params: CancelJobParams, connection: Connection) -> JobStatus:
        """`jobs/cancel`: answers when the job has ended; on one that has, it changes nothing."""
        execution = self._connections.find_execution(connection, params.observability)
        job = await self._require(params.job_run_id, connection)
        if job.status not in TERMINAL_RUN_STATES:
            grace_ms = DEFAULT_GRACE_MS if params.grace_ms is None else params.grace_ms
            await self._follower.cancel(job, params.reason, grace_ms)
            with self._waiting.parked(execution):
                await self._follower.wait(job)
        return await self._describe(job)

    # --- looking up ---

    def _find_execution(self, connection: Connection, observability: Observability | None) -> Execution | None:
        """Who waits, if that is known; it need not be current."""
        try:
            return self._connections.find_execution(connection, observability)
        except RpcError:
            return None

    async def _freeze(self, index: int, submission: SubmitParams, job_id: str, connection: Connection) -> FrozenRun:
        try:
            spec, inputs = await self._creator.freeze(submission, connection, job_id)
        except RpcError as error:
            message = f"run {index} of the job: {error.message}"
            raise RpcError(error.code, message, **{**error.data, "runIndex": index}) from error
        return FrozenRun(spec, [Raw(value) for value in inputs])

    async def _find_made(self, request: Request) -> Job:
        """The job that has the key already, if the same was meant."""
        job_id = await find_made(self._registry, request)
        job = None if job_id is None else await self._find(job_id)
        assert job is not None
        return job

    async def _find(self, job_id: str) -> Job | None:
        live = self._follower.live.get(job_id)
        if live is not None:
            return live
        entry = await self._registry.entry(Kind.JOB, job_id)
        return None if entry is None else decode_job(entry)

    async def _require(self, job_id: str, connection: Connection) -> Job:
        job = await self._find(job_id)
        if job is None or not _may_see(connection, job):
            raise RpcError(ErrorCode.NOT_FOUND, f"there is no job {job_id}", kind="job", jobRunId=job_id)
        return job

    async def _wait(self, job: Job, timeout_ms: int | None) -> None:
        with trio.move_on_after(float("inf") if timeout_ms is None else timeout_ms / 1000):
            await self._follower.wait(job)

    async def _describe(self, job: Job, *, deduplicated: bool | None = None) -> JobStatus:
        status = self._make_status(job)
        status.deduplicated = deduplicated
        for run in status.runs:
            record = None if run.run_id is None else await self._lookup.find(RunId(run.run_id))
            if record is not None and (record.progress.status == run.status or run.status not in TERMINAL_RUN_STATES):
                run.items = make_counts(record.progress)
        return status

    def _make_status(self, job: Job) -> JobStatus:
        return JobStatus(
            job_run_id=job.job_run_id,
            name=job.name,
            status=job.status,
            runs=[self._make_run_status(run) for run in job.runs],
            created_at=format_time(job.created_at_ms),
            completed_at=None if job.completed_at_ms is None else format_time(job.completed_at_ms),
            cancel_reason=job.cancel_reason,
            created_by=job.created_by,
        )

    def _make_run_status(self, run: JobRun) -> JobRunStatus:
        """An end that the job knows counts, though the executor may not have heard of its commit yet."""
        has_ended = run.status in TERMINAL_RUN_STATES
        record = None if run.run_id is None or has_ended else self._executor.record(run.run_id)
        return JobRunStatus(
            flow_id=run.flow_id,
            flow_name=run.flow_name,
            flow_label=run.flow_label,
            run_id=run.run_id,
            status=run.status if record is None else record.progress.status,
        )


def make_submission(template: RunTemplate) -> SubmitParams:
    """A template as `runs/submit` would have it."""
    return SubmitParams(**{name: getattr(template, name) for name in RunTemplate.__struct_fields__})


def _may_see(connection: Connection, job: Job) -> bool:
    """Clients see all jobs; a component server those that its plugin submitted."""
    return connection.role != "server" or (job.created_by is not None and job.created_by == connection.plugin)


def _hash(submissions: Sequence[SubmitParams]) -> str:
    return blake3("/".join(map(idempotent_content, submissions)).encode()).hexdigest(16)
