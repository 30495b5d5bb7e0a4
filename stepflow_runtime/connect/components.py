"""The built-in components (`/builtin/…`): plain functions over the runtime's own services.

Sub-runs are real runs, submitted for the calling execution. Outputs are joined from raw JSON: what passes through keeps
its digits. How these functions are called is the business of `builtins`; files are that of `files`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, Protocol

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from protocol.errors import ErrorCode, ItemErrorCode, RpcError
from protocol.runs import GetRunParams, ItemEntry, ItemResult, Outcome, RunStatus, SubmitParams
from protocol.types import BlobType
from stepflow_runtime.model.outcome import NULL, Suspension
from stepflow_runtime.ports import Execution

_encode = msgspec.json.Encoder().encode


class Callbacks(Protocol):
    """What built-ins ask of the runtime. Errors are `RpcError`s, as on the wire."""

    async def put_blob(self, data: bytes, blob_type: BlobType) -> str:
        """Stores raw JSON durably; returns the blob's id."""
        ...

    async def get_blob(self, blob_id: str) -> bytes:
        """The blob as raw JSON."""
        ...

    async def submit_run(self, execution: Execution, params: SubmitParams) -> RunStatus:
        """Submits a sub-run of this execution, keyed and linked; with `wait`, returns its end and its results.

        The values of the results are `Raw`.
        """
        ...

    async def get_run(self, execution: Execution, params: GetRunParams) -> RunStatus:
        """Reads a run, also for further pages of results."""
        ...


# --- inputs ----------------------------------------------------------------------------------------------------------


class Eval(Struct):
    input: Raw
    flow_id: str | None = None
    flow: Raw | UnsetType = UNSET


class Map(Struct):
    items: list[Raw]
    flow_id: str | None = None
    workflow: Raw | UnsetType = UNSET
    max_concurrency: Annotated[int, Meta(ge=1)] | None = None


class Iterate(Struct):
    initial_input: Raw
    flow_id: str | None = None
    flow: Raw | UnsetType = UNSET
    max_iterations: Annotated[int, Meta(ge=1)] | None = None


class PutBlob(Struct):
    data: Raw
    blob_type: BlobType | None = None


class GetBlob(Struct):
    blob_id: str


class CreateMessages(Struct):
    user_prompt: str
    system_instructions: str | None = None


class Sleep(Struct):
    duration_ms: Annotated[int, Meta(ge=0)] | None = None
    until: str | None = None
    passthrough: Raw = Raw(NULL)


class Suspend(Struct):
    payload: Raw = Raw(NULL)
    resume_schema: Raw = Raw(NULL)
    label: str | None = None
    token: str | None = None
    timeout_ms: Annotated[int, Meta(ge=1)] | None = None


class _Turn(Struct):
    """What the flow of `iterate` returns."""

    result: Raw | UnsetType = UNSET
    next: Raw | UnsetType = UNSET


# --- the components --------------------------------------------------------------------------------------------------


def noop(input: bytes) -> bytes:
    """Returns its input."""
    return input


def create_messages(input: bytes) -> bytes:
    """Makes chat messages of a prompt and, if given, system instructions."""
    params = msgspec.json.decode(input, type=CreateMessages)
    messages = [{"role": "user", "content": params.user_prompt}]
    if params.system_instructions is not None:
        messages.insert(0, {"role": "system", "content": params.system_instructions})
    return _encode({"messages": messages})


def sleep(execution: Execution, now_ms: int) -> bytes | Suspension:
    """Waits for a time or until a time, and returns `passthrough`; nothing is held meanwhile."""
    params = msgspec.json.decode(execution.input, type=Sleep)
    if execution.resumes:
        return bytes(params.passthrough)
    if (params.duration_ms is None) == (params.until is None):
        raise RpcError(ErrorCode.INVALID_INPUT, 'Give one of "duration_ms" and "until".')
    if params.duration_ms is not None:
        return Suspension(until_ms=now_ms + params.duration_ms)
    assert params.until is not None
    try:
        until = datetime.fromisoformat(params.until)
    except ValueError:
        message = '"until" is not a time: write it like "2026-01-31T08:00:00Z".'
        raise RpcError(ErrorCode.INVALID_INPUT, message) from None
    zoned = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return Suspension(until_ms=int(zoned.timestamp() * 1000))


def suspend(execution: Execution, now_ms: int) -> bytes | Suspension:
    """Waits until it is resumed, and returns what it was resumed with."""
    if execution.resumes:
        return execution.resumes[-1].data
    params = msgspec.json.decode(execution.input, type=Suspend)
    return Suspension(params.label, bytes(params.payload), bytes(params.resume_schema), params.token, params.timeout_ms)


async def put_blob(execution: Execution, services: Callbacks) -> bytes:
    """Stores data as a blob."""
    params = msgspec.json.decode(execution.input, type=PutBlob)
    return _encode({"blob_id": await services.put_blob(bytes(params.data), params.blob_type or BlobType.DATA)})


async def get_blob(execution: Execution, services: Callbacks) -> bytes:
    """Reads a blob."""
    params = msgspec.json.decode(execution.input, type=GetBlob)
    return _encode({"data": Raw(await services.get_blob(params.blob_id))})


async def eval_flow(execution: Execution, services: Callbacks) -> bytes:
    """Runs a flow over one input. A failed run is a result, not a failure of this step."""
    params = msgspec.json.decode(execution.input, type=Eval)
    flow_id = await _flow_id(params.flow_id, params.flow, "flow", services)
    run_id, (result,) = await _run(execution, services, flow_id, [params.input])
    return _encode({"result": result, "run_id": run_id})


async def map_flow(execution: Execution, services: Callbacks) -> bytes:
    """Runs a flow over each of many inputs, as items of one run."""
    params = msgspec.json.decode(execution.input, type=Map)
    flow_id = await _flow_id(params.flow_id, params.workflow, "workflow", services)
    _, results = await _run(execution, services, flow_id, params.items, params.max_concurrency)
    successful = sum(result.outcome is Outcome.SUCCESS for result in results)
    return _encode({"results": results, "successful": successful, "failed": len(results) - successful})


async def iterate_flow(execution: Execution, services: Callbacks) -> bytes:
    """Runs a flow again and again over what it returns as `next`, until it returns `result`."""
    params = msgspec.json.decode(execution.input, type=Iterate)
    flow_id = await _flow_id(params.flow_id, params.flow, "flow", services)
    limit = params.max_iterations or 1000
    value = params.initial_input
    for iterations in range(1, limit + 1):
        run_id, (result,) = await _run(execution, services, flow_id, [value])
        if result.outcome is not Outcome.SUCCESS:
            raise IterationFailed(iterations, run_id, result)
        turn = _read_turn(result)
        if turn.result is not UNSET:
            return _encode({"result": turn.result, "iterations": iterations, "terminated": False})
        if turn.next is UNSET:
            raise RpcError(
                ErrorCode.INVALID_INPUT,
                f'Iteration {iterations} returned neither "result" nor "next"; the flow must return one of them.',
                runId=run_id,
            )
        value = turn.next
    return _encode({"result": value, "iterations": limit, "terminated": True})


def _read_turn(result: ItemResult) -> _Turn:
    try:
        return msgspec.json.decode(_encode(result.value), type=_Turn)
    except msgspec.ValidationError:  # no object
        return _Turn()


class IterationFailed(Exception):
    """A run of `iterate` did not succeed, so there is nothing to go on with."""

    def __init__(self, iteration: int, run_id: str, result: ItemResult) -> None:
        why = result.error.message if result.error else result.reason or result.outcome
        super().__init__(f"Iteration {iteration} did not succeed: {why}")
        self.code = result.error.code if result.error else ItemErrorCode.COMPONENT_FAILED
        self.data = {"runId": run_id, "iteration": iteration}


async def _flow_id(flow_id: str | None, flow: Raw | UnsetType, field: str, services: Callbacks) -> str:
    if flow_id is not None:
        return flow_id
    if flow is UNSET:
        raise RpcError(ErrorCode.INVALID_INPUT, f'Either "flow_id" or "{field}" is needed.')
    return await services.put_blob(bytes(flow), BlobType.FLOW)


async def _run(
    execution: Execution, services: Callbacks, flow_id: str, inputs: list[Raw], max_concurrency: int | None = None
) -> tuple[str, list[ItemResult]]:
    """Submits a sub-run, waits for its end, and reads all its results, by index."""
    status = await services.submit_run(
        execution, SubmitParams(flow_id, inputs, wait=True, max_concurrency=max_concurrency)
    )
    entries: list[ItemEntry] = list(status.results or ())
    while status.next_offset is not None:
        params = GetRunParams(status.run_id, include_results=True, result_offset=status.next_offset)
        status = await services.get_run(execution, params)
        entries += status.results or ()
    return status.run_id, [entry.result for entry in entries]


Leaving = Callable[[Execution, int], bytes | Suspension]
Computing = Callable[[bytes], bytes]
Waiting = Callable[[Execution, Callbacks], Awaitable[bytes]]

LEAVING: Final[Mapping[str, Leaving]] = {"/sleep": sleep, "/suspend": suspend}
"""Given the wall time, too."""

COMPUTING: Final[Mapping[str, Computing]] = {"/noop": noop, "/create_messages": create_messages}
WAITING: Final[Mapping[str, Waiting]] = {
    "/eval": eval_flow,
    "/map": map_flow,
    "/iterate": iterate_flow,
    "/put_blob": put_blob,
    "/get_blob": get_blob,
}
