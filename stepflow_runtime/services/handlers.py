"""Which service answers which method: all that the runtime answers, by the catalogue's names."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, Final

from msgspec import Struct

from protocol import methods as m
from protocol.dispatch import Handler
from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.connect.introduction import Introduction
from stepflow_runtime.services.automation.jobs import JobService
from stepflow_runtime.services.automation.schedules import ScheduleService
from stepflow_runtime.services.automation.webhooks import WebhookService
from stepflow_runtime.services.blobs import BlobService
from stepflow_runtime.services.byproducts.service import ByproductService
from stepflow_runtime.services.compat import CompatService
from stepflow_runtime.services.events.service import EventService
from stepflow_runtime.services.flows import FlowService
from stepflow_runtime.services.forking import ForkService
from stepflow_runtime.services.listing import ListingService
from stepflow_runtime.services.observing import ObservingService
from stepflow_runtime.services.runs import RunService
from stepflow_runtime.services.sleeping import SleepService
from stepflow_runtime.services.suspensions import SuspensionService


class Services(Struct, frozen=True, kw_only=True):
    """All services of one runtime."""

    runs: RunService
    listing: ListingService
    events: EventService
    observing: ObservingService
    suspensions: SuspensionService
    sleeps: SleepService
    forks: ForkService
    byproducts: ByproductService
    blobs: BlobService
    flows: FlowService
    jobs: JobService
    schedules: ScheduleService
    webhooks: WebhookService
    compat: CompatService


ERRANDS: Final = frozenset({m.SUBMIT_RUN.name, m.GET_RUN.name})
"""What is asked most, and waited for most: handled without a task (`protocol.errand`)."""


def make_handlers(introduction: Introduction, services: Services) -> Mapping[str, Handler]:
    """The handlers of the runtime's dispatcher. Those that change something refuse peers that may only read."""
    runs, byproducts, sleeps = services.runs, services.byproducts, services.sleeps
    handlers: dict[str, Handler] = {
        m.CONNECT.name: introduction.connect,
        m.PUT_BLOB.name: services.blobs.put,
        m.GET_BLOB.name: services.blobs.get,
        m.SUBMIT_RUN.name: runs.submit,
        m.GET_RUN.name: runs.get,
        m.APPEND_RUN.name: runs.append,
        m.CANCEL_RUN.name: runs.cancel,
        m.DELETE_RUN.name: runs.delete,
        m.RESUME_RUN.name: services.suspensions.resume,
        m.RESTART_RUN.name: services.forks.restart,
        m.TIME_TRAVEL.name: services.forks.time_travel,
        m.SLEEP.name: sleeps.sleep,
        m.WAKE_UP_RUN.name: sleeps.wake_up,
        m.PAUSE_RUN.name: sleeps.pause,
        m.UNPAUSE_RUN.name: sleeps.unpause,
        m.LIST_RUNS.name: services.listing.runs,
        m.LIST_ITEMS.name: services.listing.items,
        m.LIST_STEPS.name: services.listing.steps,
        m.ITEM_STATES.name: services.observing.item_states,
        m.LIST_SERVERS.name: services.observing.servers,
        m.LIST_EVENTS.name: services.events.events,
        m.SUBMIT_JOB.name: services.jobs.submit,
        m.GET_JOB.name: services.jobs.get,
        m.LIST_JOBS.name: services.jobs.list,
        m.CANCEL_JOB.name: services.jobs.cancel,
        m.WRITE_STREAM.name: byproducts.writer.write,
        m.READ_STREAM.name: byproducts.reader.read,
        m.CLOSE_STREAM.name: byproducts.writer.close,
        m.LIST_STREAMS.name: byproducts.reader.list_all,
        m.PUT_ARTIFACT.name: byproducts.artifacts.put,
        m.LIST_ARTIFACTS.name: byproducts.artifacts.list_all,
        m.GET_ARTIFACT.name: byproducts.artifacts.get,
        m.CHECKPOINT.name: byproducts.checkpoints.checkpoint,
        m.REGISTER_WEBHOOK.name: services.webhooks.register,
        m.LIST_WEBHOOKS.name: services.webhooks.list_webhooks,
        m.DELETE_WEBHOOK.name: services.webhooks.delete,
        m.LIST_DELIVERIES.name: services.webhooks.deliveries,
        m.REDELIVER.name: services.webhooks.redeliver,
        m.CREATE_SCHEDULE.name: services.schedules.create,
        m.LIST_SCHEDULES.name: services.schedules.list_schedules,
        m.PAUSE_SCHEDULE.name: services.schedules.pause,
        m.UNPAUSE_SCHEDULE.name: services.schedules.unpause,
        m.DELETE_SCHEDULE.name: services.schedules.delete,
        m.VALIDATE_FLOW.name: services.flows.validate,
        m.FLOW_VARIABLES.name: services.flows.variables,
        m.FLOW_GRAPH.name: services.flows.graph,
        m.EVALUATE.name: services.compat.evaluate,
        m.FLOW_METADATA.name: services.compat.get_metadata,
        m.SUBMIT_BATCH.name: services.compat.submit_batch,
        m.GET_BATCH.name: services.compat.get_batch,
    }
    return {name: handler if name in m.READING else _for_writers(name, handler) for name, handler in handlers.items()}


def _for_writers(name: str, handler: Handler) -> Handler:
    def handle(params: Struct, connection: Connection) -> Awaitable[Any]:
        if connection.role == "read-only":
            raise RpcError(
                ErrorCode.NOT_AUTHENTICATED,
                f"This token may only read, and {name} writes; use another one.",
                role="read-only",
            )
        return handler(params, connection)

    return handle
