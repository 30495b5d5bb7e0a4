"""Runs on the wire (PROTOCOL §4): submitting, reading and controlling them, and what waits in them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, UnsetType

from protocol.types import CamelWire, Count, Milliseconds, Observability, Positive, Resume, Timestamp, Wire
from protocol.vocabulary import Vocabulary, translate


class RunState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUSPENDED = "suspended"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"

    def as_(self, vocabulary: Vocabulary) -> str:
        """The same in the words of another system."""
        return translate(vocabulary, self)


class ItemState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUSPENDED = "suspended"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepState(StrEnum):
    RUNNING = "running"
    RETRYING = "retrying"
    SUSPENDED = "suspended"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Outcome(StrEnum):
    """How an item, or a step, ended."""

    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ResultOrder(StrEnum):
    BY_INDEX = "byIndex"
    BY_COMPLETION = "byCompletion"


class WaitFor(StrEnum):
    TERMINAL = "terminal"
    SETTLED = "settled"


class MaxFailures(CamelWire):
    max_failures: Count


FailurePolicy = Literal["continue", "failFast"] | MaxFailures
ParentClosePolicy = Literal["cancel", "abandon"]


class ItemError(Wire, gc=False):
    code: str
    """An `ItemErrorCode`; a later version may have more of them."""
    message: str
    data: Any = UNSET


class ItemResult(Wire, gc=False):  # with a page of thousands, who reads on and on pays for the collector
    """How an item ended: `value` is there exactly for `success`, also when it is `null`."""

    outcome: Outcome
    value: Any = UNSET
    error: ItemError | None = None
    reason: str | None = None


class ItemEntry(CamelWire, gc=False):
    """One element of `results`."""

    item_index: int
    result: ItemResult
    completed_at: Timestamp


class ItemCounts(CamelWire, omit_defaults=False):
    total: int
    pending: int = 0
    running: int = 0
    success: int = 0
    failed: int = 0
    cancelled: int = 0
    suspended: int | UnsetType = UNSET


class RegisteredWebhook(CamelWire):
    """`secret` is told here and never again, and only if the runtime made it."""

    webhook_id: str
    secret: str | None = None
    deduplicated: bool | None = None
    """Whether a request before made it."""


class SuspensionInfo(CamelWire, kw_only=True):
    """What a step waits for. `payload` and `resume_schema` are absent if it gave none."""

    item_index: int
    step_id: str
    label: str
    payload: Any = UNSET
    resume_schema: Any = UNSET
    suspended_at: Timestamp
    expires_at: Timestamp | None = None


class RunStatus(CamelWire, kw_only=True):
    """The answer of `runs/submit`, `runs/get` and others; byte-compatible with the published shape."""

    run_id: str
    flow_id: str
    flow_name: str | None = None
    flow_label: str | None = None
    status: RunState
    status_detail: str | None = None
    current_state_name: str | None = None
    items: ItemCounts
    created_at: Timestamp
    started_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    completed_at: Timestamp | None = None
    parent_run_id: str | None = None
    root_run_id: str | None = None
    job_run_id: str | None = None
    forked_from: str | None = None
    labels: dict[str, str] | None = None
    created_by: str | None = None
    cancel_reason: str | None = None
    suspensions: list[SuspensionInfo] | None = None
    deduplicated: bool | None = None
    webhook: RegisteredWebhook | None = None
    """Only in the answer to a submission that brought one."""
    results: list[ItemEntry] | None = None
    next_offset: int | None = None

    def as_(self, vocabulary: Vocabulary) -> str:
        """The status, and what its detail adds, in the words of another system."""
        return translate(vocabulary, self.status, self.status_detail)


class RunWebhookParams(CamelWire):
    """Who is told about one run: of `run.completed`, unless `events` names others."""

    url: str
    events: list[str] | None = None
    secret: str | None = None


class SubmitParams(CamelWire):
    flow_id: str
    inputs: list[Raw]
    wait: bool | None = None
    max_concurrency: Positive | None = None
    overrides: dict[str, Any] | None = None
    observability: Observability | None = None
    flow_label: str | None = None
    variables: dict[str, Raw] | None = None
    idempotency_key: str | None = None
    failure_policy: FailurePolicy | None = None
    labels: dict[str, str] | None = None
    wait_for: WaitFor | None = None
    timeout_ms: Milliseconds | None = None
    run_timeout_ms: Positive | None = None
    delay_until: Timestamp | None = None
    sealed: bool | None = None
    parent_close_policy: ParentClosePolicy | None = None
    webhook: RunWebhookParams | None = None


class GetRunParams(CamelWire):
    run_id: str
    wait: bool | None = None
    include_results: bool | None = None
    result_order: ResultOrder | None = None
    observability: Observability | None = None
    wait_for: WaitFor | None = None
    timeout_ms: Milliseconds | None = None
    result_offset: Count | None = None
    result_limit: Positive | None = None


class AppendParams(CamelWire):
    run_id: str
    at_index: Count
    inputs: list[Raw]
    sealed: bool | None = None
    observability: Observability | None = None


class AppendResult(CamelWire):
    total: int


PageLimit = Annotated[int, Meta(ge=1, le=1000)]


class ListRunsParams(CamelWire):
    status: RunState | None = None
    flow_id: str | None = None
    flow_name: str | None = None
    parent_run_id: str | None = None
    root_run_id: str | None = None
    job_run_id: str | None = None
    labels: dict[str, str] | None = None
    created_after: Timestamp | None = None
    created_before: Timestamp | None = None
    cursor: str | None = None
    limit: PageLimit | None = None
    observability: Observability | None = None


class ListRunsResult(CamelWire):
    runs: list[RunStatus]
    next_cursor: str | None = None


class ListItemsParams(CamelWire):
    run_id: str
    status: ItemState | None = None
    cursor: str | None = None
    limit: PageLimit | None = None
    observability: Observability | None = None
    start_index: Count | None = None


class ItemInfo(CamelWire):
    item_index: int
    status: ItemState
    input: Any = UNSET
    result: ItemResult | None = None
    current_steps: list[str] | None = None


class ListItemsResult(CamelWire):
    items: list[ItemInfo]
    next_cursor: str | None = None


class ListStepsParams(CamelWire):
    """With `include_inputs`, what was executed with what: `input` and `resumes` of each step."""

    run_id: str
    item_index: Count | None = None
    cursor: str | None = None
    limit: PageLimit | None = None
    observability: Observability | None = None
    include_inputs: bool | None = None


class StepInfo(CamelWire):
    item_index: int
    step_id: str
    component: str
    status: StepState
    attempt: int
    started_at: Timestamp | None = None
    completed_at: Timestamp | None = None
    result: ItemResult | None = None
    suspension: SuspensionInfo | None = None
    input: Any = UNSET
    resumes: list[Resume] | None = None


class ListStepsResult(CamelWire):
    steps: list[StepInfo]
    next_cursor: str | None = None


class CancelRunParams(CamelWire):
    run_id: str
    item_indexes: list[Count] | None = None
    reason: str | None = None
    grace_ms: Milliseconds | None = None
    observability: Observability | None = None


class CancelOutcome(StrEnum):
    CANCELLED = "cancelled"
    ALREADY_CANCELLED = "alreadyCancelled"
    NOT_CANCELLABLE = "notCancellable"


class CancelRunResult(CamelWire):
    outcome: CancelOutcome
    run: RunStatus


class RunParams(CamelWire):
    run_id: str
    observability: Observability | None = None


class ResumeParams(CamelWire):
    """Which suspension is meant, and what it is resumed with; `token` alone suffices, without a `run_id`."""

    run_id: str | None = None
    step: str | None = None
    label: str | None = None
    item_index: Count | None = None
    token: str | None = None
    resume_data: Raw | UnsetType = UNSET
    request_id: str | None = None
    wait: bool | None = None
    timeout_ms: Milliseconds | None = None
    observability: Observability | None = None


class WakeUpParams(CamelWire):
    run_id: str
    correlation_ids: list[str] | None = None
    observability: Observability | None = None


class WakeUpResult(CamelWire):
    stopped_count: int


class SleepParams(CamelWire):
    """Of an execution; one of `duration_ms` and `until` is given."""

    duration_ms: Milliseconds | None = None
    until: Timestamp | None = None
    correlation_id: str | None = None
    run_id: str | None = None
    observability: Observability | None = None


class SleepResult(CamelWire, omit_defaults=False):
    """`woken` if it ended before its time."""

    woken: bool


class EventsParams(CamelWire):
    """`tail` begins with about so many events before the end, instead of at the first; not with sub-runs."""

    run_id: str
    cursor: str | None = None
    types: list[str] | None = None
    limit: PageLimit | None = None
    timeout_ms: Milliseconds | None = None
    include_sub_runs: bool | None = None
    observability: Observability | None = None
    tail: Count | None = None


class RunEvent(CamelWire, gc=False):
    seq: int
    type: str
    at: Timestamp
    run_id: str
    item_index: int | None = None
    step_id: str | None = None
    data: dict[str, Any] | None = None


class EventsResult(CamelWire, omit_defaults=False):
    events: list[RunEvent]
    next_cursor: str
    done: bool
