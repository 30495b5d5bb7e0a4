"""What a run did, as a file that can be kept with the code: its flow, its items, and what its components were asked.

A recording holds nothing that differs between two runs that do the same: no ids of runs, no times, no stacks. So it is
read in a review like any other file. Runs are recorded from outside, through the methods of the catalogue, by whoever
has a link; `component_sdk.testing.replay` tries components with it, `stepflow flows replay` a flow.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct

from protocol import methods
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
    RunState,
    RunStatus,
    StepInfo,
)
from protocol.types import BlobType, CamelWire, GetBlobParams, GetBlobResult

VERSION: Final = 1
"""Of the form of the file."""

MAX_ITEMS: Final = 1_000
"""What a recording holds of one run, and how many sub-runs: it is to be read by people, too."""

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


class Recording(CamelWire, kw_only=True):
    """One run, with its sub-runs in the order in which they were made; `recording` is the form of the file."""

    recording: int
    flow_id: str
    flow: dict[str, Any]
    items: list[RecordedItem]
    sub_runs: list[Recording]

    @property
    def name(self) -> str:
        """The flow's name, or its id."""
        return str(self.flow.get("name") or self.flow_id)


async def record(ask: Ask, run_id: str) -> Recording:
    """Records a run that has ended, and its sub-runs.

    Raises:
        RpcError: `RUN_NOT_FOUND`; `CONFLICT` if it still runs; `LIMIT_EXCEEDED` if it is too large to be recorded.
    """
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
        sub_runs=[await record(ask, child) for child in children],
    )


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
