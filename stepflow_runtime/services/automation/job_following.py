"""Jobs go on: a task follows each that has not ended, from run to run (PROTOCOL §4, `jobs/*`).

The write that records how a run ended also names the next one, and a named run is made only if it is not there yet. So
a job goes on after any death of the runtime, and makes no run twice. Above lies `jobs`, which is what peers ask.
"""

from __future__ import annotations

from typing import Final

import msgspec
import trio
from msgspec import Raw, Struct

from protocol.errors import RpcError
from protocol.log import Logger
from protocol.runs import RunState
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import Clock, Entry, Ids, Kind, Registry, Store, StoreUnavailable, WatchFor
from stepflow_runtime.services.creation import RunCreator
from stepflow_runtime.services.lookup import RunLookup
from stepflow_runtime.services.refusal import RETRY_MS

DEFAULT_GRACE_MS: Final = 5000
JOB_CANCELLED: Final = "jobCancelled"

log = Logger(__name__)


class FrozenRun(Struct, frozen=True):
    """All that a run of a job will be but its id."""

    spec: RunSpec
    inputs: list[Raw]


class JobRun(Struct, kw_only=True, omit_defaults=True):
    """A run of a job; `run_id` from when it is its turn."""

    flow_id: str
    flow_name: str | None
    flow_label: str | None
    run_id: RunId | None = None
    status: RunState = RunState.PENDING


class Job(Struct, kw_only=True, omit_defaults=True):
    """A job as it is stored."""

    job_run_id: str
    name: str | None
    created_by: str | None
    created_at_ms: int
    runs: list[JobRun]
    status: RunState = RunState.PENDING
    completed_at_ms: int | None = None
    cancel_requested: bool = False
    cancel_reason: str | None = None

    @property
    def current(self) -> JobRun | None:
        """The run whose turn it is."""
        named = [run for run in self.runs if run.run_id is not None and run.status not in TERMINAL_RUN_STATES]
        return named[0] if named else None


class JobFollower:
    """Follows jobs.

    Args:
        executor: Executes their runs.
        store, registry: Hold runs and jobs.
        creator: Makes the runs.
        lookup: Finds them.
        clock, ids: The world.

    Attributes:
        live: The jobs that have not ended, by id.
    """

    def __init__(
        self,
        executor: Executor,
        store: Store,
        registry: Registry,
        creator: RunCreator,
        lookup: RunLookup,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._executor = executor
        self._store = store
        self._registry = registry
        self._creator = creator
        self._lookup = lookup
        self._clock = clock
        self._ids = ids
        self.live: dict[str, Job] = {}
        self._ends: dict[str, trio.Event] = {}
        self._saving: dict[str, trio.Lock] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follows jobs until cancelled, first those that had not ended when the runtime began."""
        try:
            async with trio.open_nursery() as self._nursery:
                for entry in await self._registry.active(Kind.JOB):
                    self.begin(decode_job(entry))
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def begin(self, job: Job) -> None:
        """Follows a job that is stored; if the runtime is about to end, the next one does."""
        self.live[job.job_run_id] = job
        self._ends[job.job_run_id] = trio.Event()
        self._saving[job.job_run_id] = trio.Lock()
        if self._nursery is not None:
            self._nursery.start_soon(self._follow, job)

    async def wait(self, job: Job) -> None:
        """Waits until a job has ended, and that is durable."""
        ended = self._ends.get(job.job_run_id)
        if ended is not None:
            await ended.wait()

    async def cancel(self, job: Job, reason: str | None, grace_ms: int) -> None:
        """Cancels a live job: it begins no run any more, and the one that it is at is cancelled."""
        if not job.cancel_requested and job.status not in TERMINAL_RUN_STATES:
            job.cancel_requested, job.cancel_reason = True, reason
            await self._save(job)
        self._cancel_current(job, grace_ms)

    async def _follow(self, job: Job) -> None:
        for index, run in enumerate(job.runs):
            if run.status is RunState.SUCCESS:
                continue
            if run.run_id is None:
                if job.cancel_requested:
                    break
                await self._name_next(job, run)
            run.status = await self._carry_out(job, index, run)
            if run.status is not RunState.SUCCESS:
                break
        job.status = _judge(job)
        job.completed_at_ms = self._clock.wall_ms()
        for run in job.runs:
            if run.run_id is None:
                run.status = RunState.CANCELLED
        await self._save(job)
        del self.live[job.job_run_id]
        del self._saving[job.job_run_id]
        self._ends.pop(job.job_run_id).set()

    async def _name_next(self, job: Job, run: JobRun) -> None:
        if self._executor.is_draining:  # the next runtime goes on
            await trio.sleep_forever()
        run.run_id = self._ids.run_id()
        job.status = RunState.RUNNING
        await self._save(job)

    async def _carry_out(self, job: Job, index: int, run: JobRun) -> RunState:
        """Makes the run, if it is not there yet, and waits for its end."""
        assert run.run_id is not None
        if await self._lookup.find(run.run_id) is None:  # else a runtime died after it had made it
            entry = await self._registry.entry(Kind.JOB_RUN, name_frozen(job.job_run_id, index))
            assert entry is not None, "what a job is yet to do is kept"
            frozen = msgspec.json.decode(entry.body, type=FrozenRun)
            try:
                await self._launch(frozen, run.run_id)
            except RpcError as error:
                log.error("a run of a job cannot begin", job_run_id=job.job_run_id, index=index, reason=error.message)
                return RunState.FAILED
        if job.cancel_requested:
            self._cancel_current(job, DEFAULT_GRACE_MS)
        progress = await self._store.watch(run.run_id, 0, WatchFor.TERMINAL)
        return RunState.CANCELLED if progress is None else progress.status

    async def _launch(self, frozen: FrozenRun, run_id: RunId) -> None:
        while True:
            try:
                await self._creator.launch(frozen.spec, run_id, [bytes(value) for value in frozen.inputs])
                return
            except StoreUnavailable:
                await trio.sleep(RETRY_MS / 1000)

    def _cancel_current(self, job: Job, grace_ms: int) -> None:
        run = job.current
        if run is not None and run.run_id is not None:
            self._executor.request_cancel(run.run_id, job.cancel_reason or JOB_CANCELLED, None, grace_ms / 1000)

    async def _save(self, job: Job) -> None:
        """Writes how a job stands, as soon as that can be done; what it needs no more is removed.

        One write of a job at a time, so that none overtakes another and brings back what was before.
        """
        async with self._saving[job.job_run_id]:
            while True:
                needless = [index for index, run in enumerate(job.runs) if run.status in TERMINAL_RUN_STATES]
                removed = [(Kind.JOB_RUN, name_frozen(job.job_run_id, index)) for index in needless]
                try:
                    return await self._registry.save([make_job_entry(job)], removed)
                except StoreUnavailable:
                    await trio.sleep(RETRY_MS / 1000)


def _judge(job: Job) -> RunState:
    ends = {run.status for run in job.runs}
    if ends == {RunState.SUCCESS}:
        return RunState.SUCCESS
    if RunState.FAILED in ends:
        return RunState.FAILED
    return RunState.CANCELLED


def make_job_entry(job: Job) -> Entry:
    """A job as the registry keeps it."""
    return Entry(Kind.JOB, job.job_run_id, msgspec.json.encode(job), job.status not in TERMINAL_RUN_STATES)


def decode_job(entry: Entry) -> Job:
    return msgspec.json.decode(entry.body, type=Job)


def freeze_entry(job_id: str, index: int, frozen: FrozenRun) -> Entry:
    """A run of a job as the registry keeps it until its turn is over."""
    return Entry(Kind.JOB_RUN, name_frozen(job_id, index), msgspec.json.encode(frozen))


def name_frozen(job_id: str, index: int) -> str:
    return f"{job_id}/{index}"
