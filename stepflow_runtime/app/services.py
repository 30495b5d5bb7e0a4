"""The services of a runtime, put together from its configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from protocol.observing import ServerInfo
from stepflow_runtime.app.config import Config
from stepflow_runtime.app.storage import RunsAndBlobs
from stepflow_runtime.connect.connection import Connections
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.programs import Programs
from stepflow_runtime.ports import Clock, ComponentCatalog, Ids, SecretSource
from stepflow_runtime.services.automation.jobs import JobService
from stepflow_runtime.services.automation.schedules import ScheduleService
from stepflow_runtime.services.automation.webhooks import WebhookService
from stepflow_runtime.services.blobs import BlobService
from stepflow_runtime.services.byproducts.additions import ByproductLimits
from stepflow_runtime.services.byproducts.service import ByproductService
from stepflow_runtime.services.compat import CompatService
from stepflow_runtime.services.events.service import EventService
from stepflow_runtime.services.flows import FlowService
from stepflow_runtime.services.forking import ForkService
from stepflow_runtime.services.handlers import Services
from stepflow_runtime.services.listing import ListingService
from stepflow_runtime.services.observing import ObservingService
from stepflow_runtime.services.runs import ANSWER_MARGIN, RunService
from stepflow_runtime.services.sleeping import SleepService
from stepflow_runtime.services.submission import SubmitLimits
from stepflow_runtime.services.suspensions import SuspensionService
from stepflow_runtime.services.visibility import Visibility


def make_services(
    config: Config,
    store: RunsAndBlobs,
    executor: Executor,
    programs: Programs,
    connections: Connections,
    clock: Clock,
    ids: Ids,
    webhooks: WebhookService,
    secrets: SecretSource,
    find_servers: Callable[[], Sequence[ServerInfo]],
    find_catalog: Callable[[], ComponentCatalog],
) -> Services:
    """The services, not yet running.

    Args:
        config: Limits, above all.
        store, executor, programs, connections, clock, ids: What they stand on.
        webhooks: Answers for the runtime's webhooks; runs are told to it.
        secrets: What flows may refer to.
        find_servers: Tells which component servers there are, and how they are.
        find_catalog: Gives who knows what components take and give.
    """
    limits, visibility = config.limits, Visibility(connections)
    submit_limits = SubmitLimits(
        limits.max_concurrency,
        limits.max_items_per_submit,
        limits.max_run_depth,
        limits.max_descendants,
        limits.max_job_runs,
        limits.max_schema_steps,
    )
    byproduct_limits = ByproductLimits(
        limits.max_stream_chunk_bytes,
        limits.max_stream_write_chunks,
        limits.max_stream_bytes,
        limits.max_streams,
        limits.max_checkpoint_bytes,
        limits.max_checkpoints,
        limits.max_artifacts,
    )
    blobs = BlobService(store, connections)
    runs = RunService(
        executor,
        store,
        programs,
        connections,
        clock,
        ids,
        submit_limits,
        limits.max_frame_bytes,
        secrets,
        webhooks,
        is_traced=config.telemetry is not None,
    )
    creator, suspensions = runs.creator, runs.suspensions
    return Services(
        runs=runs,
        listing=ListingService(executor, store, programs, visibility),
        events=EventService(executor, store, visibility),
        observing=ObservingService(executor, store, visibility, find_servers),
        suspensions=SuspensionService(executor, store, connections, suspensions),
        sleeps=SleepService(executor, store, connections, clock, suspensions),
        forks=ForkService(executor, store, programs, connections, clock, ids, creator, suspensions),
        byproducts=ByproductService(
            executor,
            store,
            store.byproducts,
            blobs,
            connections,
            visibility,
            clock,
            byproduct_limits,
            limits.max_frame_bytes - ANSWER_MARGIN,
        ),
        blobs=blobs,
        flows=FlowService(programs, executor, find_catalog),
        jobs=JobService(executor, store, store.registry, creator, connections, clock, ids, submit_limits),
        schedules=ScheduleService(
            executor,
            store,
            store.registry,
            creator,
            connections,
            clock,
            ids,
            limits.max_schedules,
            limits.max_queued_times,
        ),
        webhooks=webhooks,
        compat=CompatService(runs, programs, limits.max_frame_bytes),
    )
