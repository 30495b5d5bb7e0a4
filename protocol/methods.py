"""The catalogue of methods: the one home of the wire contract in code (PROTOCOL §1–§5).

Each method says who answers it and what goes in and out. The dispatcher decodes params by it, links encode by it,
`openrpc` publishes it. A method that is not here does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from protocol import automation, byproducts, compatibility, flows, forking, observing, runs, types

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


PING = _both("ping", types.Empty, types.Empty, "Tells that the peer is alive.")
CANCEL_REQUEST = _both("$/cancelRequest", types.CancelRequestParams, None, "The sender no longer wants that answer.")
DISCOVER = _both("rpc.discover", types.Empty, dict[str, Any], "The methods of this side, as an OpenRPC document.")

INITIALIZE = _server(
    "initialize", types.InitializeParams, types.InitializeResult, "Opens the conversation with a server."
)
INITIALIZED = _server("initialized", types.Empty, None, "The runtime is ready for the server's requests.")
LIST_COMPONENTS = _server("components/list", types.Empty, types.ComponentListResult, "The components of this server.")
COMPONENT_INFO = _server(
    "components/info", types.ComponentParams, types.ComponentInfoResult, "One component, with schemas."
)
INFER_SCHEMA = _server(
    "components/infer_schema",
    types.InferSchemaParams,
    types.InferSchemaResult,
    "The output schema for an input schema.",
)
EXECUTE = _server("components/execute", types.ExecuteParams, types.ExecuteResult, "Executes a component once.")
EXECUTE_BATCH = _server(
    "components/execute_batch",
    types.ExecuteBatchParams,
    types.ExecuteBatchResult,
    "Executes a component for many items.",
)

CONNECT = _runtime("connect", types.ConnectParams, types.ConnectResult, "Introduces a peer that dialled the runtime.")
PUT_BLOB = _runtime("blobs/put", types.PutBlobParams, types.PutBlobResult, "Stores content; the same content once.")
GET_BLOB = _runtime("blobs/get", types.GetBlobParams, types.GetBlobResult, "Reads content by its id, verified.")
SUBMIT_RUN = _runtime("runs/submit", runs.SubmitParams, runs.RunStatus, "Executes a flow over many inputs.")
GET_RUN = _runtime("runs/get", runs.GetRunParams, runs.RunStatus, "Status of a run and, if wanted, its results.")
APPEND_RUN = _runtime("runs/append", runs.AppendParams, runs.AppendResult, "Adds inputs to an open run.")
LIST_RUNS = _runtime("runs/list", runs.ListRunsParams, runs.ListRunsResult, "Runs, newest first.")
LIST_ITEMS = _runtime("runs/items", runs.ListItemsParams, runs.ListItemsResult, "Items of a run, by index.")
ITEM_STATES = _runtime(
    "runs/itemStates", observing.ItemStatesParams, observing.ItemStatesResult, "A letter for each item's state."
)
LIST_STEPS = _runtime("runs/steps", runs.ListStepsParams, runs.ListStepsResult, "Steps of a run's items.")
CANCEL_RUN = _runtime("runs/cancel", runs.CancelRunParams, runs.CancelRunResult, "Cancels a run, or some of its items.")
RESUME_RUN = _runtime("runs/resume", runs.ResumeParams, runs.RunStatus, "Ends a suspension: its step goes on.")
RESTART_RUN = _runtime(
    "runs/restart", forking.RestartParams, runs.RunStatus, "Has active steps, or what failed, go again."
)
TIME_TRAVEL = _runtime(
    "runs/timeTravel", forking.TimeTravelParams, runs.RunStatus, "Goes again from a step on, in a fork."
)
PAUSE_RUN = _runtime(
    "runs/pause", runs.RunParams, runs.RunStatus, "Begins no step any more; what is in flight may end."
)
UNPAUSE_RUN = _runtime("runs/unpause", runs.RunParams, runs.RunStatus, "Begins steps again.")
WAKE_UP_RUN = _runtime("runs/wakeUp", runs.WakeUpParams, runs.WakeUpResult, "Ends sleeps before their time.")
SLEEP = _runtime("runs/sleep", runs.SleepParams, runs.SleepResult, "Sleeps, also over restarts, for an execution.")
DELETE_RUN = _runtime("runs/delete", runs.RunParams, types.Empty, "Deletes an ended run and its descendants.")
LIST_EVENTS = _runtime("runs/events", runs.EventsParams, runs.EventsResult, "What happened in a run, in order.")
SUBMIT_JOB = _runtime(
    "jobs/submit", automation.SubmitJobParams, automation.JobStatus, "Runs in order; a failure stops the rest."
)
GET_JOB = _runtime("jobs/get", automation.GetJobParams, automation.JobStatus, "Status of a job and of its runs.")
LIST_JOBS = _runtime("jobs/list", automation.ListJobsParams, automation.ListJobsResult, "Jobs, newest first.")
CANCEL_JOB = _runtime(
    "jobs/cancel", automation.CancelJobParams, automation.JobStatus, "Cancels a job with the run that it is at."
)
WRITE_STREAM = _runtime(
    "runs/streams/write", byproducts.WriteStreamParams, byproducts.TailResult, "Adds chunks to a stream of a run."
)
READ_STREAM = _runtime(
    "runs/streams/read", byproducts.ReadStreamParams, byproducts.ReadStreamResult, "Chunks of a stream, in order."
)
CLOSE_STREAM = _runtime(
    "runs/streams/close", byproducts.StreamParams, byproducts.TailResult, "Ends a stream before its run ends."
)
LIST_STREAMS = _runtime("runs/streams/list", runs.RunParams, byproducts.ListStreamsResult, "The streams of a run.")
PUT_ARTIFACT = _runtime(
    "runs/artifacts/put", byproducts.PutArtifactParams, byproducts.Artifact, "Gives a blob a name in a run."
)
LIST_ARTIFACTS = _runtime(
    "runs/artifacts/list", runs.RunParams, byproducts.ListArtifactsResult, "The artifacts of a run."
)
GET_ARTIFACT = _runtime("runs/artifacts/get", byproducts.GetArtifactParams, byproducts.Artifact, "One artifact.")
CHECKPOINT = _runtime(
    "runs/checkpoint", byproducts.CheckpointParams, byproducts.CheckpointResult, "Keeps a value for the next attempts."
)
REGISTER_WEBHOOK = _runtime(
    "webhooks/register",
    automation.RegisterWebhookParams,
    runs.RegisteredWebhook,
    "Has events of runs sent to a URL, signed.",
)
LIST_WEBHOOKS = _runtime(
    "webhooks/list", automation.ListWebhooksParams, automation.ListWebhooksResult, "Webhooks, newest first."
)
DELETE_WEBHOOK = _runtime(
    "webhooks/delete", automation.WebhookParams, types.Empty, "Deletes a webhook and its deliveries."
)
LIST_DELIVERIES = _runtime(
    "webhooks/deliveries",
    automation.ListDeliveriesParams,
    automation.ListDeliveriesResult,
    "What became of deliveries, newest first.",
)
REDELIVER = _runtime(
    "webhooks/redeliver", automation.RedeliverParams, automation.RedeliverResult, "Sends deliveries again."
)
CREATE_SCHEDULE = _runtime(
    "schedules/create",
    automation.CreateScheduleParams,
    automation.Schedule,
    "Has a run submitted at the times of a cron expression.",
)
LIST_SCHEDULES = _runtime(
    "schedules/list", automation.ListSchedulesParams, automation.ListSchedulesResult, "Schedules, newest first."
)
PAUSE_SCHEDULE = _runtime(
    "schedules/pause", automation.ScheduleParams, automation.Schedule, "Has a schedule fire no more."
)
UNPAUSE_SCHEDULE = _runtime(
    "schedules/unpause", automation.ScheduleParams, automation.Schedule, "Has it fire again, from now on."
)
DELETE_SCHEDULE = _runtime(
    "schedules/delete", automation.ScheduleParams, types.Empty, "Deletes a schedule; its runs stay."
)
LIST_SERVERS = _runtime(
    "servers/list", types.Empty, observing.ListServersResult, "Component servers, and how they are."
)
VALIDATE_FLOW = _runtime(
    "flows/validate", flows.FlowParams, flows.ValidateFlowResult, "Checks a flow without storing it."
)
FLOW_VARIABLES = _runtime(
    "flows/variables", flows.FlowIdParams, flows.VariablesResult, "The schema of a flow's variables."
)
FLOW_GRAPH = _runtime("flows/graph", flows.FlowIdParams, flows.GraphResult, "Steps and the references between them.")
EVALUATE = _runtime(
    "flows/evaluate", compatibility.EvaluateParams, compatibility.EvaluateResult, "One item, awaited (before `runs/*`)."
)
FLOW_METADATA = _runtime(
    "flows/get_metadata", compatibility.FlowMetadataParams, compatibility.FlowMetadataResult, "Metadata of a flow."
)
SUBMIT_BATCH = _runtime(
    "flows/submit_batch", compatibility.SubmitBatchParams, compatibility.SubmitBatchResult, "Many items, not awaited."
)
GET_BATCH = _runtime(
    "flows/get_batch", compatibility.GetBatchParams, compatibility.GetBatchResult, "Status of a submitted batch."
)

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
