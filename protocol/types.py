"""The shapes on the wire, one Struct each: what all have in common, connections, components, blobs (PROTOCOL §1–§3).

Those of `runs/*` and of what came with them are in modules of their own; both sides use them.

Casing follows the published protocol: `initialize`, `components/*`, `blobs/*` and observability are snake_case,
`runs/*` and what was added here camelCase on the wire and snake_case in Python. On output absent optional fields are
omitted. On input `null` in an optional field means absent; where any JSON is allowed, absent is `UNSET` and a payload
stays `Raw`, so that it passes through digit for digit.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Milliseconds = Annotated[int, Meta(ge=0)]
Timestamp = str
"""RFC 3339, UTC, milliseconds, `Z`."""


class Wire(Struct, omit_defaults=True):
    """Base of the snake_case shapes."""


class CamelWire(Wire, rename="camel"):
    """Base of the camelCase shapes."""


class Empty(Wire):
    """`{}`."""


# --- connections (§1) ------------------------------------------------------------------------------------------------


class Limits(CamelWire, omit_defaults=False):
    """What a peer accepts; told in `initialize` and `connect`."""

    max_frame_bytes: int = 32 * 1024 * 1024
    max_in_flight: int = 1000
    max_batch: int = 1000
    max_run_depth: int = 16


class Observability(Wire):
    """Who calls, and for what: echoed by a callback so that it belongs to its execution (§2)."""

    trace_id: str | None = None
    span_id: str | None = None
    run_id: str | None = None
    flow_id: str | None = None
    step_id: str | None = None
    item_index: int | None = None
    execution_id: str | None = None


class InitializeParams(Wire, omit_defaults=False):
    runtime_protocol_version: int
    limits: Limits
    capabilities: list[str]
    token: str | UnsetType = UNSET


class InitializeResult(Wire):
    server_protocol_version: int
    capabilities: list[str] | None = None
    max_frame_bytes: Positive | None = field(name="maxFrameBytes", default=None)
    max_in_flight: Positive | None = field(name="maxInFlight", default=None)


class ConnectParams(CamelWire):
    protocol_version: int
    token: str | None = None
    name: str | None = None
    role: Literal["client", "server"] | None = None
    max_in_flight: Positive | None = None


class ConnectResult(CamelWire):
    protocol_version: int
    runtime_version: str
    limits: Limits


class CancelRequestParams(Wire):
    id: Raw


# --- components (§2) -------------------------------------------------------------------------------------------------


class BatchInfo(Wire, omit_defaults=False):
    """How a component takes executions together: so many at most, and how long the first may wait for the others."""

    max_size: Positive
    max_wait_ms: Milliseconds


class ComponentInfo(Wire):
    component: str
    description: str | None = None
    input_schema: Any = UNSET
    output_schema: Any = UNSET
    batch: BatchInfo | None = None


class ComponentListResult(Wire):
    components: list[ComponentInfo]


class ComponentParams(Wire):
    component: str


class ComponentInfoResult(Wire):
    info: ComponentInfo


class InferSchemaParams(Wire):
    component: str
    input_schema: Any


class InferSchemaResult(Wire):
    output_schema: Any = UNSET


class Resume(Wire, omit_defaults=False):
    """What a suspended step was resumed with."""

    label: str
    data: Raw


class ExecuteParams(Wire, omit_defaults=False):
    component: str
    input: Raw
    attempt: Annotated[int, Meta(ge=1)] | None = 1
    observability: Observability | None = None
    resumes: list[Resume] | UnsetType = UNSET


class BatchCall(Wire, omit_defaults=False):
    """One execution of a batch."""

    input: Raw
    attempt: Annotated[int, Meta(ge=1)] | None = 1
    observability: Observability | None = None


class ExecuteBatchParams(Wire):
    component: str
    calls: list[BatchCall]


class NoAction(Wire):
    reason: str | None = None


class Suspend(Wire):
    """The component leaves, and is executed again from its top when it is resumed."""

    label: str | None = None
    payload: Raw | UnsetType = UNSET
    resume_schema: Raw | UnsetType = UNSET
    token: str | None = None
    timeout_ms: Positive | None = None


class ExecuteResult(Wire):
    """Exactly one of them is set."""

    output: Raw | UnsetType = UNSET
    no_action: NoAction | UnsetType = UNSET
    suspend: Suspend | UnsetType = UNSET


class BatchEntry(ExecuteResult):
    """How one call of a batch ended: as an `ExecuteResult`, or with the error object that would be its answer."""

    error: Raw | UnsetType = UNSET


class ExecuteBatchResult(Wire):
    """One entry per call, in their order."""

    results: list[BatchEntry]


# --- blobs (§3) ------------------------------------------------------------------------------------------------------


class BlobType(StrEnum):
    DATA = "data"
    FLOW = "flow"
    BINARY = "binary"


class PutBlobParams(Wire):
    data: Raw
    blob_type: BlobType | None = None
    observability: Observability | None = None


class PutBlobResult(Wire):
    blob_id: str


class GetBlobParams(Wire):
    blob_id: str
    blob_type: BlobType | None = None
    observability: Observability | None = None


class GetBlobResult(Wire, omit_defaults=False):
    data: Any
    blob_type: BlobType
