"""What a run did, as a file that can be kept with the code: its flow, its items, and what its components were asked.

A recording holds nothing that differs between two runs that do the same: no ids of runs, no times, no stacks. So it is
read in a review like any other file. Runs are recorded from outside, through the methods of the catalogue, by whoever
has a link; `component_sdk.testing.replay` tries components with it, `stepflow flows replay` a flow.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct

from protocol import methods
from protocol.byproducts import Encoding, ListStreamsResult, ReadStreamParams, ReadStreamResult, StreamChunk
from protocol.errors import ErrorCode, RpcError
from protocol.runs import (
    GetRunParams,
    ItemCounts,
    ItemError,
    ItemInfo,
    ItemResult,
    ListItemsParams,
    ListItemsResult,
    ListRunsParams,
    ListRunsResult,
    ListStepsParams,
    ListStepsResult,
    RunParams,
    RunState,
    RunStatus,
    StepInfo,
)
from protocol.types import BlobType, CamelWire, GetBlobParams, GetBlobResult

VERSION: Final = 2
"""Of the form of the file."""

MAX_ITEMS: Final = 1_000
"""What a recording holds of one run, and how many sub-runs: it is to be read by people, too."""

MAX_CHUNKS: Final = 10_000
"""What a recording holds of one stream."""

MAX_BLOB_BYTES: Final = 1024 * 1024
"""Of a blob in a recording, as JSON; what is larger is left out."""

MAX_BLOBS: Final = 1_000
"""How many blobs a recording holds; more are left out."""

_BLOB_ID: Final = re.compile(rb"blake3:[0-9a-f]{64}")

Ask = Callable[[methods.Method, Struct], Awaitable[Any]]
"""Sends a request to a runtime, and gives the result."""


class RecordedStep(CamelWire):
    """A step of an item: what its component was called with, and what it answered.

    `resumes` are what its suspensions returned, by label. `input` is absent where it could not be computed.
    """

    step: str
    component: str
    input: Any = UNSET
    result: ItemResult | None = None
    resumes: dict[str, Any] | None = None


class RecordedItem(CamelWire):
    input: Any
    result: ItemResult | None
    steps: list[RecordedStep]


class RecordedChunk(CamelWire):
    """A chunk of a stream; `item` and `step` say who wrote it, if it was a step of the run."""

    data: Any
    encoding: Encoding | None = None
    item: int | None = None
    step: str | None = None


class RecordedBlob(CamelWire):
    """As `blobs/get` gives it."""

    type: BlobType
    data: Any


class Recording(CamelWire, kw_only=True):
    """One run, with its sub-runs in the order in which they were made; `recording` is the form of the file.

    `streams` are by namespace. `blobs`, by id, are all that is named anywhere in it; a sub-run has none of its own.
    """

    recording: int
    flow_id: str
    flow: dict[str, Any]
    items: list[RecordedItem]
    sub_runs: list[Recording]
    streams: dict[str, list[RecordedChunk]] | None = None
    blobs: dict[str, RecordedBlob] | None = None

    @property
    def name(self) -> str:
        """The flow's name, or its id."""
        return str(self.flow.get("name") or self.flow_id)


async def record(ask: Ask, run_id: str) -> Recording:
    """Records a run that has ended, its sub-runs, and the blobs that are named in them.

    Raises:
        RpcError: `RUN_NOT_FOUND`; `CONFLICT` if it still runs; `LIMIT_EXCEEDED` if it is too large to be recorded.
    """
    recording = await _record_run(ask, run_id)
    recording.blobs = await _record_blobs(ask, recording) or None
    return recording


async def _record_run(ask: Ask, run_id: str) -> Recording:
    status: RunStatus = await ask(methods.GET_RUN, GetRunParams(run_id))
    if status.status not in (RunState.SUCCESS, RunState.FAILED, RunState.CANCELLED):
        raise RpcError(ErrorCode.CONFLICT, f"The run {run_id} is {status.status}; record it when it has ended.")
    _check_size(status.items)
    blob: GetBlobResult = await ask(methods.GET_BLOB, GetBlobParams(status.flow_id, BlobType.FLOW))
    children = await _list_children(ask, run_id)
    return Recording(
        recording=VERSION,
        flow_id=status.flow_id,
        flow=blob.data,
        items=await _record_items(ask, run_id),
        sub_runs=[await _record_run(ask, child) for child in children],
        streams=await _record_streams(ask, run_id) or None,
    )


async def _record_blobs(ask: Ask, recording: Recording) -> dict[str, RecordedBlob]:
    """The blobs that are named in a recording, and in such blobs."""
    blobs: dict[str, RecordedBlob] = {}
    known = set(_list_flows(recording))
    found = _find_blobs(recording)
    while found and len(blobs) < MAX_BLOBS:
        blob_id = found.pop(0)
        if blob_id in known:
            continue
        known.add(blob_id)
        try:
            blob: GetBlobResult = await ask(methods.GET_BLOB, GetBlobParams(blob_id))
        except RpcError:  # a text that looks like an id, or a blob that was removed
            continue
        if len(msgspec.json.encode(blob.data)) <= MAX_BLOB_BYTES:
            blobs[blob_id] = RecordedBlob(blob.blob_type, blob.data)
            found += _find_blobs(blob.data)
    return blobs


def _list_flows(recording: Recording) -> Iterator[str]:
    yield recording.flow_id
    for sub_run in recording.sub_runs:
        yield from _list_flows(sub_run)


def _find_blobs(value: Any) -> list[str]:
    """The ids in a value, each once, in order."""
    return [blob_id.decode() for blob_id in dict.fromkeys(_BLOB_ID.findall(msgspec.json.encode(value)))]


async def _record_streams(ask: Ask, run_id: str) -> dict[str, list[RecordedChunk]]:
    listed: ListStreamsResult = await ask(methods.LIST_STREAMS, RunParams(run_id))
    streams: dict[str, list[RecordedChunk]] = {}
    for stream in listed.streams:
        if stream.tail_index > MAX_CHUNKS:
            raise RpcError(
                ErrorCode.LIMIT_EXCEEDED,
                f"The stream {stream.namespace} of run {run_id} has {stream.tail_index} chunks, and a recording holds "
                f"{MAX_CHUNKS}; record a run that writes less.",
                limit="recordedChunks",
                value=MAX_CHUNKS,
            )
        chunks = streams[stream.namespace] = []
        while len(chunks) < stream.tail_index:
            page: ReadStreamResult = await ask(
                methods.READ_STREAM, ReadStreamParams(run_id, stream.namespace, len(chunks), include_writers=True)
            )
            chunks += map(_record_chunk, page.chunks)
    return streams


def _record_chunk(chunk: StreamChunk) -> RecordedChunk:
    writer = chunk.writer
    if writer is None or writer.run_id is not None:
        return RecordedChunk(chunk.data, chunk.encoding)
    return RecordedChunk(chunk.data, chunk.encoding, writer.item_index, writer.step_id)


def encode_recording(recording: Recording) -> bytes:
    """A recording as a file: JSON with a line for each value."""
    return msgspec.json.format(msgspec.json.encode(recording), indent=2) + b"\n"


def decode_recording(content: bytes, source: str) -> Recording:
    """Reads a file.

    Args:
        content: All of it.
        source: Its name, for messages.

    Raises:
        ValueError: It is no recording, or one of another form; the message says what to do.
    """
    try:
        recording = msgspec.json.decode(content, type=Recording)
    except msgspec.DecodeError as error:
        raise ValueError(f"{source} is no recording ({error}); make one with `stepflow runs record`.") from None
    if recording.recording != VERSION:
        raise ValueError(
            f"{source} has the form {recording.recording}, this version reads {VERSION}; record the run again."
        )
    return recording


def _check_size(items: ItemCounts) -> None:
    if items.total > MAX_ITEMS:
        raise RpcError(
            ErrorCode.LIMIT_EXCEEDED,
            f"The run has {items.total} items, and a recording holds {MAX_ITEMS}; record a run with fewer.",
            limit="recordedItems",
            value=MAX_ITEMS,
        )


async def _list_children(ask: Ask, run_id: str) -> list[str]:
    """The ids of sub-runs, the first one first."""
    listed: ListRunsResult = await ask(methods.LIST_RUNS, ListRunsParams(parent_run_id=run_id, limit=MAX_ITEMS))
    if listed.next_cursor is not None:
        message = f"The run {run_id} has more than {MAX_ITEMS} sub-runs, which a recording does not hold."
        raise RpcError(ErrorCode.LIMIT_EXCEEDED, message, limit="recordedItems", value=MAX_ITEMS)
    return [run.run_id for run in reversed(listed.runs)]


async def _record_items(ask: Ask, run_id: str) -> list[RecordedItem]:
    infos: list[ItemInfo] = []
    steps: list[StepInfo] = []
    cursor: str | None = None
    while True:
        items: ListItemsResult = await ask(methods.LIST_ITEMS, ListItemsParams(run_id, cursor=cursor))
        infos += items.items
        cursor = items.next_cursor
        if cursor is None:
            break
    while True:
        page: ListStepsResult = await ask(
            methods.LIST_STEPS, ListStepsParams(run_id, cursor=cursor, include_inputs=True)
        )
        steps += page.steps
        cursor = page.next_cursor
        if cursor is None:
            break
    recorded = [RecordedItem(info.input, _strip(info.result), []) for info in infos]
    for step in steps:
        recorded[step.item_index].steps.append(_record_step(step))
    return recorded


def _record_step(step: StepInfo) -> RecordedStep:
    resumes = {resume.label: msgspec.json.decode(resume.data) for resume in step.resumes or ()}
    return RecordedStep(step.step_id, step.component, step.input, _strip(step.result), resumes or None)


def _strip(result: ItemResult | None) -> ItemResult | None:
    """A result without what differs from run to run: stacks."""
    if result is None or result.error is None:
        return result
    return ItemResult(result.outcome, error=ItemError(result.error.code, result.error.message))
