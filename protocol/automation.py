"""The shapes on the wire of what starts runs, and of what is told about them: jobs, schedules, webhooks (PROTOCOL §4).

As in `types`: camelCase on the wire, snake_case in Python.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from msgspec import Meta, Raw

from protocol.runs import FailurePolicy, ItemCounts, PageLimit, RunState
from protocol.types import CamelWire, Milliseconds, Observability, Positive, Timestamp

Text = Annotated[str, Meta(min_length=1)]


class RunTemplate(CamelWire, kw_only=True):
    """A run that is to be submitted by the runtime itself, later: what `runs/submit` takes, without its waiting."""

    flow_id: str
    inputs: list[Raw]
    max_concurrency: Positive | None = None
    overrides: dict[str, Any] | None = None
    flow_label: str | None = None
    variables: dict[str, Raw] | None = None
    failure_policy: FailurePolicy | None = None
    labels: dict[str, str] | None = None
    run_timeout_ms: Positive | None = None


# --- jobs ------------------------------------------------------------------------------------------------------------


class SubmitJobParams(CamelWire, kw_only=True):
    name: str | None = None
    runs: Annotated[list[RunTemplate], Meta(min_length=1)]
    idempotency_key: str | None = None
    wait: bool | None = None
    timeout_ms: Milliseconds | None = None
    observability: Observability | None = None


class GetJobParams(CamelWire):
    job_run_id: str
    wait: bool | None = None
    timeout_ms: Milliseconds | None = None
    observability: Observability | None = None


class CancelJobParams(CamelWire):
    job_run_id: str
    reason: str | None = None
    grace_ms: Milliseconds | None = None
    observability: Observability | None = None


class ListJobsParams(CamelWire):
    cursor: str | None = None
    limit: PageLimit | None = None
    observability: Observability | None = None


class JobRunStatus(CamelWire, kw_only=True):
    """A run of a job. Without `run_id` it has not begun; once the job has ended, it never will."""

    flow_id: str
    flow_name: str | None = None
    flow_label: str | None = None
    run_id: str | None = None
    status: RunState
    items: ItemCounts | None = None


class JobStatus(CamelWire, kw_only=True):
    """A job and its runs, in their order."""

    job_run_id: str
    name: str | None = None
    status: RunState
    runs: list[JobRunStatus]
    created_at: Timestamp
    completed_at: Timestamp | None = None
    cancel_reason: str | None = None
    created_by: str | None = None
    deduplicated: bool | None = None


class ListJobsResult(CamelWire):
    jobs: list[JobStatus]
    next_cursor: str | None = None


# --- webhooks --------------------------------------------------------------------------------------------------------


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up; it can be redelivered."""


class RegisterWebhookParams(CamelWire, kw_only=True):
    """`events` are types of `runs/events`; the rest narrows whose. Runs that other runs submitted are left out, unless
    `includeSubRuns`. A request that is repeated with its `requestId` gives the first one's webhook, with its secret."""

    url: Text
    events: Annotated[list[str], Meta(min_length=1)]
    secret: str | None = None
    flow_id: str | None = None
    flow_name: str | None = None
    labels: dict[str, str] | None = None
    include_sub_runs: bool | None = None
    request_id: str | None = None
    observability: Observability | None = None


class WebhookParams(CamelWire):
    webhook_id: str
    observability: Observability | None = None


class Webhook(CamelWire, kw_only=True):
    webhook_id: str
    url: str
    events: list[str]
    flow_id: str | None = None
    flow_name: str | None = None
    labels: dict[str, str] | None = None
    include_sub_runs: bool | None = None
    created_at: Timestamp
    created_by: str | None = None


class ListWebhooksParams(CamelWire):
    cursor: str | None = None
    limit: PageLimit | None = None
    observability: Observability | None = None


class ListWebhooksResult(CamelWire):
    webhooks: list[Webhook]
    next_cursor: str | None = None


class ListDeliveriesParams(CamelWire):
    webhook_id: str | None = None
    run_id: str | None = None
    status: DeliveryState | None = None
    cursor: str | None = None
    limit: PageLimit | None = None
    observability: Observability | None = None


class DeliveryInfo(CamelWire, kw_only=True):
    """One event for one webhook; `deliveryId` is what its receiver sees as `webhook-id`."""

    delivery_id: str
    webhook_id: str
    run_id: str
    type: str
    status: DeliveryState
    attempts: int
    created_at: Timestamp
    due_at: Timestamp | None = None
    last_attempt_at: Timestamp | None = None
    last_error: str | None = None


class ListDeliveriesResult(CamelWire):
    deliveries: list[DeliveryInfo]
    next_cursor: str | None = None


class RedeliverParams(CamelWire):
    """One delivery, or all of a webhook that were given up."""

    delivery_id: str | None = None
    webhook_id: str | None = None
    observability: Observability | None = None


class RedeliverResult(CamelWire):
    redelivered: int


# --- schedules -------------------------------------------------------------------------------------------------------

Overlap = Literal["skip", "queue", "cancelPrevious"]


class CreateScheduleParams(CamelWire, kw_only=True):
    """`run` is submitted at the times that `cron` names in `timeZone`.

    Args:
        overlap: What happens when it is time and the run before has not ended.
        catch_up_ms: Times that were missed no longer ago than this are made up for.
        request_id: A request that is repeated with it gives the first one's schedule.
    """

    cron: Text
    time_zone: Text
    run: RunTemplate
    name: str | None = None
    overlap: Overlap | None = None
    catch_up_ms: Milliseconds | None = None
    paused: bool | None = None
    request_id: str | None = None
    observability: Observability | None = None


class ScheduleParams(CamelWire):
    schedule_id: str
    observability: Observability | None = None


class Schedule(CamelWire, kw_only=True):
    schedule_id: str
    name: str | None = None
    cron: str
    time_zone: str
    flow_id: str
    overlap: Overlap
    catch_up_ms: int
    paused: bool | None = None
    created_at: Timestamp
    created_by: str | None = None
    next_at: Timestamp | None = None
    """When it fires next; absent while it is paused, and if it never fires again."""
    last_at: Timestamp | None = None
    """The time for which it last fired."""
    last_run_id: str | None = None
    last_error: str | None = None
    """Why that time had no run, if it had none."""
    queued: int | None = None
    """Times that have come and wait for the run before."""
    skipped: int | None = None
    """Times that came and were left out: too late, or the run before had not ended."""
    deduplicated: bool | None = None
    """Whether a request before made it."""


class ListSchedulesParams(CamelWire):
    cursor: str | None = None
    limit: PageLimit | None = None
    observability: Observability | None = None


class ListSchedulesResult(CamelWire):
    schedules: list[Schedule]
    next_cursor: str | None = None
