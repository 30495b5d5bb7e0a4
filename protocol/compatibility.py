"""Runs as the Stepflow protocol had them before `runs/*` (PROTOCOL §5)."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import UNSET, Raw

from protocol.runs import Outcome
from protocol.types import Observability, Positive, Timestamp, Wire


class EvaluateParams(Wire):
    flow_id: str
    input: Raw
    overrides: dict[str, Any] | None = None
    variables: dict[str, Raw] | None = None
    observability: Observability | None = None


class FlowError(Wire):
    """An item's error with its code as a number."""

    code: int
    message: str
    data: Any = UNSET


class FlowResult(Wire):
    """How an item ended: `result` is there exactly for `success`, also when it is `null`, and `error` for `failed`."""

    outcome: Outcome
    result: Any = UNSET
    error: FlowError | None = None


class EvaluateResult(Wire):
    result: FlowResult


class FlowMetadataParams(Wire):
    flow_id: str
    step_id: str | None = None
    observability: Observability | None = None


class FlowMetadataResult(Wire):
    flow_metadata: dict[str, Any]
    step_metadata: dict[str, Any] | None = None


class SubmitBatchParams(Wire):
    flow_id: str
    inputs: list[Raw]
    max_concurrency: Positive | None = None
    overrides: dict[str, Any] | None = None
    variables: dict[str, Raw] | None = None
    observability: Observability | None = None


class SubmitBatchResult(Wire):
    batch_id: str
    total_runs: int


class GetBatchParams(Wire):
    batch_id: str
    wait: bool | None = None
    include_results: bool | None = None
    observability: Observability | None = None


class BatchState(StrEnum):
    """Of a batch `running` (also when it has ended) or `cancelled`; of its items all."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class BatchDetails(Wire, kw_only=True):
    batch_id: str
    flow_id: str
    flow_name: str | None = None
    total_runs: int
    status: BatchState
    created_at: Timestamp
    completed_at: Timestamp | None = None
    completed_runs: int
    running_runs: int
    failed_runs: int
    cancelled_runs: int
    paused_runs: int


class BatchOutput(Wire):
    batch_input_index: int
    status: BatchState
    result: FlowResult | None = None


class GetBatchResult(Wire):
    details: BatchDetails
    outputs: list[BatchOutput] | None = None
