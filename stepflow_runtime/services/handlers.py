"""Which service answers which method: all that the runtime answers, by the catalogue's names."""

from __future__ import annotations

from collections.abc import Mapping

from protocol import methods as m
from protocol.dispatch import Handler
from stepflow_runtime.connect.introduction import Introduction
from stepflow_runtime.services.blobs import BlobService
from stepflow_runtime.services.compat import CompatService
from stepflow_runtime.services.events import EventService
from stepflow_runtime.services.flows import FlowService
from stepflow_runtime.services.listing import ListingService
from stepflow_runtime.services.runs import RunService


def make_handlers(
    introduction: Introduction,
    runs: RunService,
    listing: ListingService,
    events: EventService,
    blobs: BlobService,
    flows: FlowService,
    compat: CompatService,
) -> Mapping[str, Handler]:
    """The handlers of the runtime's dispatcher."""
    return {
        m.CONNECT.name: introduction.connect,
        m.PUT_BLOB.name: blobs.put,
        m.GET_BLOB.name: blobs.get,
        m.SUBMIT_RUN.name: runs.submit,
        m.GET_RUN.name: runs.get,
        m.APPEND_RUN.name: runs.append,
        m.CANCEL_RUN.name: runs.cancel,
        m.DELETE_RUN.name: runs.delete,
        m.LIST_RUNS.name: listing.runs,
        m.LIST_ITEMS.name: listing.items,
        m.LIST_STEPS.name: listing.steps,
        m.LIST_EVENTS.name: events.events,
        m.VALIDATE_FLOW.name: flows.validate,
        m.FLOW_VARIABLES.name: flows.variables,
        m.FLOW_GRAPH.name: flows.graph,
        m.EVALUATE.name: compat.evaluate,
        m.FLOW_METADATA.name: compat.get_metadata,
        m.SUBMIT_BATCH.name: compat.submit_batch,
        m.GET_BATCH.name: compat.get_batch,
    }
