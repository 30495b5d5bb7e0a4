"""What a run makes beside its results, on the wire (PROTOCOL §4): streams, artifacts, checkpoints.

Payloads stay `Raw`, so that they pass through digit for digit.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from msgspec import UNSET, Meta, Raw, UnsetType

from protocol.runs import PageLimit
from protocol.types import CamelWire, Count, Milliseconds, Observability, Timestamp

DEFAULT_NAMESPACE = "default"

Name = Annotated[str, Meta(min_length=1, max_length=200)]
"""Of a namespace, a key, an artifact."""

MimeType = Annotated[str, Meta(max_length=200, pattern=r"^[\w.+-]+/[\w.+*-]+( *; *[\w.+-]+=[\w.+-]+)*$")]


class Encoding(StrEnum):
    """How a chunk stands in JSON: as it is, or bytes as a string of base64."""

    JSON = "json"
    BASE64 = "base64"


# --- streams ---------------------------------------------------------------------------------------------------------


class WriteStreamParams(CamelWire):
    """Chunks for the end of a stream. The same `writeKey` of the same writer writes once."""

    run_id: str
    chunks: list[Raw]
    namespace: Name | None = None
    encoding: Encoding | None = None
    write_key: Name | None = None
    observability: Observability | None = None


class TailResult(CamelWire):
    """`tailIndex` is how many chunks the stream has: the index that the next one gets."""

    tail_index: int


class ReadStreamParams(CamelWire):
    """A negative `startIndex` counts back from the tail as it is then. With `includeWriters` each chunk says which step
    wrote it, unless a client did."""

    run_id: str
    namespace: Name | None = None
    start_index: int | None = None
    limit: PageLimit | None = None
    timeout_ms: Milliseconds | None = None
    observability: Observability | None = None
    include_writers: bool | None = None


class StreamWriterInfo(CamelWire):
    """A step of an item; `runId` if it is one of another run."""

    item_index: int
    step_id: str
    run_id: str | None = None


class StreamChunk(CamelWire):
    index: int
    data: Any
    encoding: Encoding | None = None
    writer: StreamWriterInfo | None = None


class ReadStreamResult(CamelWire, omit_defaults=False):
    """`done`: there is nothing after `nextIndex`, and never will be."""

    chunks: list[StreamChunk]
    start_index: int
    next_index: int
    tail_index: int
    done: bool


class StreamParams(CamelWire):
    run_id: str
    namespace: Name | None = None
    observability: Observability | None = None


class StreamInfo(CamelWire):
    namespace: str
    tail_index: int
    closed: bool


class ListStreamsResult(CamelWire):
    streams: list[StreamInfo]


# --- artifacts -------------------------------------------------------------------------------------------------------


class PutArtifactParams(CamelWire):
    run_id: str
    name: Name
    mime_type: MimeType
    blob_id: str
    type: Name | None = None
    item_index: Count | None = None
    observability: Observability | None = None


class GetArtifactParams(CamelWire):
    run_id: str
    artifact_id: str
    observability: Observability | None = None


class Artifact(CamelWire, kw_only=True):
    """A named blob that a run made. `size` is that of the content in bytes."""

    artifact_id: str
    run_id: str
    item_index: int | None = None
    name: str
    type: str | None = None
    mime_type: str
    size: int
    blob_id: str
    created_at: Timestamp


class ListArtifactsResult(CamelWire):
    """In the order in which they were put."""

    artifacts: list[Artifact]


# --- checkpoints -----------------------------------------------------------------------------------------------------


class CheckpointParams(CamelWire):
    """Without a `value` it only looks."""

    run_id: str
    key: Name
    value: Raw | UnsetType = UNSET
    observability: Observability | None = None


class CheckpointResult(CamelWire, omit_defaults=False):
    """The first value that was written for this step and key; `stored` tells whether there is one."""

    value: Any
    stored: bool
