"""The catalogue of methods: the one home of the wire contract in code (PROTOCOL §1–§5).

Each method says who answers it and what goes in and out. The dispatcher decodes params by it, links encode by it,
`openrpc` publishes it. A method that is not here does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from protocol import automation as a
from protocol import byproducts as b
from protocol import forking as f
from protocol import observing as o
from protocol import types as t

PROTOCOL_VERSION: Final = 1


class Side(StrEnum):
    """Who answers a method."""

    RUNTIME = "runtime"
    SERVER = "server"
    BOTH = "both"


class Method(Struct, frozen=True, kw_only=True):
    """One method.

    Args:
        name: As on the wire.
        answered_by: The side that handles it.
        params: The Struct of its params.
        result: The type of its result; `None` for a notification.
        summary: One line for people.
    """

    name: str
    answered_by: Side
    params: type[Struct]
    result: type[Struct] | Any
    summary: str

    @property
    def is_notification(self) -> bool:
        return self.result is None


def _both(name: str, params: type[Struct], result: Any, summary: str) -> Method:
    return Method(name=name, answered_by=Side.BOTH, params=params, result=result, summary=summary)


def _server(name: str, params: type[Struct], result: Any, summary: str) -> Method:
    return Method(name=name, answered_by=Side.SERVER, params=params, result=result, summary=summary)


def _runtime(name: str, params: type[Struct], result: Any, summary: str) -> Method:
    return Method(name=name, answered_by=Side.RUNTIME, params=params, result=result, summary=summary)


PING = _both("ping", t.Empty, t.Empty, "Tells that the peer is alive.")
CANCEL_REQUEST = _both("$/cancelRequest", t.CancelRequestParams, None, "The sender no longer wants that answer.")
DISCOVER = _both("rpc.discover", t.Empty, dict[str, Any], "The methods of this side, as an OpenRPC document.")

INITIALIZE = _server("initialize", t.InitializeParams, t.InitializeResult, "Opens the conversation with a server.")
INITIALIZED = _server("initialized", t.Empty, None, "The runtime is ready for the server's requests.")
LIST_COMPONENTS = _server("components/list", t.Empty, t.ComponentListResult, "The components of this server.")
COMPONENT_INFO = _server("components/info", t.ComponentParams, t.ComponentInfoResult, "One component, with schemas.")
INFER_SCHEMA = _server(
    "components/infer_schema", t.InferSchemaParams, t.InferSchemaResult, "The output schema for an input schema."
)
EXECUTE = _server("components/execute", t.ExecuteParams, t.ExecuteResult, "Executes a component once.")
EXECUTE_BATCH = _server(
    "components/execute_batch", t.ExecuteBatchParams, t.ExecuteBatchResult, "Executes a component for many items."
)

CONNECT = _runtime("connect", t.ConnectParams, t.ConnectResult, "Introduces a peer that dialled the runtime.")
PUT_BLOB = _runtime("blobs/put", t.PutBlobParams, t.PutBlobResult, "Stores content; the same content once.")
GET_BLOB = _runtime("blobs/get", t.GetBlobParams, t.GetBlobResult, "Reads content by its id, verified.")
SUBMIT_RUN = _runtime("runs/submit", t.SubmitParams, t.RunStatus, "Executes a flow over many inputs.")
GET_RUN = _runtime("runs/get", t.GetRunParams, t.RunStatus, "Status of a run and, if wanted, its results.")
APPEND_RUN = _runtime("runs/append", t.AppendParams, t.AppendResult, "Adds inputs to an open run.")
LIST_RUNS = _runtime("runs/list", t.ListRunsParams, t.ListRunsResult, "Runs, newest first.")
LIST_ITEMS = _runtime("runs/items", t.ListItemsParams, t.ListItemsResult, "Items of a run, by index.")
ITEM_STATES = _runtime("runs/itemStates", o.ItemStatesParams, o.ItemStatesResult, "A letter for each item's state.")
LIST_STEPS = _runtime("runs/steps", t.ListStepsParams, t.ListStepsResult, "Steps of a run's items.")
CANCEL_RUN = _runtime("runs/cancel", t.CancelRunParams, t.CancelRunResult, "Cancels a run, or some of its items.")
RESUME_RUN = _runtime("runs/resume", t.ResumeParams, t.RunStatus, "Ends a suspension: its step goes on.")
RESTART_RUN = _runtime("runs/restart", f.RestartParams, t.RunStatus, "Has active steps, or what failed, go again.")
TIME_TRAVEL = _runtime("runs/timeTravel", f.TimeTravelParams, t.RunStatus, "Goes again from a step on, in a fork.")
PAUSE_RUN = _runtime("runs/pause", t.RunParams, t.RunStatus, "Begins no step any more; what is in flight may end.")
UNPAUSE_RUN = _runtime("runs/unpause", t.RunParams, t.RunStatus, "Begins steps again.")
WAKE_UP_RUN = _runtime("runs/wakeUp", t.WakeUpParams, t.WakeUpResult, "Ends sleeps before their time.")
SLEEP = _runtime("runs/sleep", t.SleepParams, t.SleepResult, "Sleeps, also over restarts, for an execution.")
DELETE_RUN = _runtime("runs/delete", t.RunParams, t.Empty, "Deletes an ended run and its descendants.")
LIST_EVENTS = _runtime("runs/events", t.EventsParams, t.EventsResult, "What happened in a run, in order.")
SUBMIT_JOB = _runtime("jobs/submit", a.SubmitJobParams, a.JobStatus, "Runs in order; a failure stops the rest.")
GET_JOB = _runtime("jobs/get", a.GetJobParams, a.JobStatus, "Status of a job and of its runs.")
LIST_JOBS = _runtime("jobs/list", a.ListJobsParams, a.ListJobsResult, "Jobs, newest first.")
CANCEL_JOB = _runtime("jobs/cancel", a.CancelJobParams, a.JobStatus, "Cancels a job with the run that it is at.")
WRITE_STREAM = _runtime("runs/streams/write", b.WriteStreamParams, b.TailResult, "Adds chunks to a stream of a run.")
READ_STREAM = _runtime("runs/streams/read", b.ReadStreamParams, b.ReadStreamResult, "Chunks of a stream, in order.")
CLOSE_STREAM = _runtime("runs/streams/close", b.StreamParams, b.TailResult, "Ends a stream before its run ends.")
LIST_STREAMS = _runtime("runs/streams/list", t.RunParams, b.ListStreamsResult, "The streams of a run.")
PUT_ARTIFACT = _runtime("runs/artifacts/put", b.PutArtifactParams, b.Artifact, "Gives a blob a name in a run.")
LIST_ARTIFACTS = _runtime("runs/artifacts/list", t.RunParams, b.ListArtifactsResult, "The artifacts of a run.")
GET_ARTIFACT = _runtime("runs/artifacts/get", b.GetArtifactParams, b.Artifact, "One artifact.")
CHECKPOINT = _runtime("runs/checkpoint", b.CheckpointParams, b.CheckpointResult, "Keeps a value for the next attempts.")
REGISTER_WEBHOOK = _runtime(
    "webhooks/register", a.RegisterWebhookParams, t.RegisteredWebhook, "Has events of runs sent to a URL, signed."
)
LIST_WEBHOOKS = _runtime("webhooks/list", a.ListWebhooksParams, a.ListWebhooksResult, "Webhooks, newest first.")
DELETE_WEBHOOK = _runtime("webhooks/delete", a.WebhookParams, t.Empty, "Deletes a webhook and its deliveries.")
LIST_DELIVERIES = _runtime(
    "webhooks/deliveries", a.ListDeliveriesParams, a.ListDeliveriesResult, "What became of deliveries, newest first."
)
REDELIVER = _runtime("webhooks/redeliver", a.RedeliverParams, a.RedeliverResult, "Sends deliveries again.")
CREATE_SCHEDULE = _runtime(
    "schedules/create", a.CreateScheduleParams, a.Schedule, "Has a run submitted at the times of a cron expression."
)
LIST_SCHEDULES = _runtime("schedules/list", a.ListSchedulesParams, a.ListSchedulesResult, "Schedules, newest first.")
PAUSE_SCHEDULE = _runtime("schedules/pause", a.ScheduleParams, a.Schedule, "Has a schedule fire no more.")
UNPAUSE_SCHEDULE = _runtime("schedules/unpause", a.ScheduleParams, a.Schedule, "Has it fire again, from now on.")
DELETE_SCHEDULE = _runtime("schedules/delete", a.ScheduleParams, t.Empty, "Deletes a schedule; its runs stay.")
LIST_SERVERS = _runtime("servers/list", t.Empty, o.ListServersResult, "Component servers, and how they are.")
VALIDATE_FLOW = _runtime("flows/validate", t.FlowParams, t.ValidateFlowResult, "Checks a flow without storing it.")
FLOW_VARIABLES = _runtime("flows/variables", t.FlowIdParams, t.VariablesResult, "The schema of a flow's variables.")
FLOW_GRAPH = _runtime("flows/graph", t.FlowIdParams, t.GraphResult, "Steps and the references between them.")
EVALUATE = _runtime("flows/evaluate", t.EvaluateParams, t.EvaluateResult, "One item, awaited (before `runs/*`).")
FLOW_METADATA = _runtime("flows/get_metadata", t.FlowMetadataParams, t.FlowMetadataResult, "Metadata of a flow.")
SUBMIT_BATCH = _runtime("flows/submit_batch", t.SubmitBatchParams, t.SubmitBatchResult, "Many items, not awaited.")
GET_BATCH = _runtime("flows/get_batch", t.GetBatchParams, t.GetBatchResult, "Status of a submitted batch.")

METHODS: Final[Mapping[str, Method]] = {
    value.name: value for value in list(globals().values()) if isinstance(value, Method)
}

READING: Final = frozenset(
    method.name
    for method in (
        PING, CANCEL_REQUEST, DISCOVER, CONNECT, GET_BLOB, GET_RUN, LIST_RUNS, LIST_ITEMS, LIST_STEPS, LIST_EVENTS,
        VALIDATE_FLOW, FLOW_VARIABLES, FLOW_GRAPH, FLOW_METADATA, GET_BATCH, GET_JOB, LIST_JOBS,
        LIST_WEBHOOKS, LIST_DELIVERIES, LIST_SCHEDULES, READ_STREAM,
        LIST_STREAMS, LIST_ARTIFACTS, GET_ARTIFACT, ITEM_STATES, LIST_SERVERS,
    )
)  # fmt: skip
"""The methods that change nothing: all that a peer with a read-only token may call (PROTOCOL §1)."""


def answered_by(side: Side) -> Iterable[Method]:
    """The methods that a side answers, in the order of the catalogue."""
    return [method for method in METHODS.values() if method.answered_by in (side, Side.BOTH)]
