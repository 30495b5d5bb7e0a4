"""What a component's context and a client both do with a runtime: blobs and runs.

Every method is plain `await` over a `Caller`, so the same code serves trio, asyncio (a caller that crosses over) and
blocking code (`sync` runs it in trio's thread).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypedDict, Unpack

from msgspec import Raw
from msgspec.structs import replace

from component_sdk.caller import Caller, ask_about_run
from component_sdk.codec import convert, encode
from component_sdk.errors import SdkError
from component_sdk.flow_file import FlowSource, is_flow_id, load_flow
from component_sdk.following import WaitForName, to_ms
from component_sdk.inputs import chunk_inputs
from component_sdk.run import Run
from protocol import methods
from protocol.runs import (
    AppendParams,
    FailurePolicy,
    GetRunParams,
    ParentClosePolicy,
    ResultOrder,
    RunStatus,
    RunWebhookParams,
    SubmitParams,
    WaitFor,
)
from protocol.types import BlobType, GetBlobParams, Observability, PutBlobParams


class RunOptions(TypedDict, total=False):
    """What else a submission may say; each may be left out.

    Keys:
        max_concurrency: How many items execute at once, ≥ 1; the runtime's default is 1,000.
        overrides: `{"steps": {id: {"value": patch}}}`.
        variables: Values of the flow's variables.
        flow_label: A name for this use of the flow.
        labels: For finding the run again.
        idempotency_key: The same key with the same submission gives the first run.
        failure_policy: `"continue"` (default), `"failFast"` or `MaxFailures(n)`.
        run_timeout_s: Bounds the run.
        delay_until: When it begins.
        parent_close_policy: Whether cancelling the parent cancels this run (`"cancel"`, default) or not (`"abandon"`).
        webhook: Who is told of the run's end, or of other events of it.
        traceparent: The span that submits (W3C Trace Context); components give their own by themselves.
    """

    max_concurrency: int | None
    overrides: Mapping[str, Any] | None
    variables: Mapping[str, Any] | None
    flow_label: str | None
    labels: Mapping[str, str] | None
    idempotency_key: str | None
    failure_policy: FailurePolicy | None
    run_timeout_s: float | None
    delay_until: datetime | None
    parent_close_policy: ParentClosePolicy | None
    webhook: RunWebhookParams | None
    traceparent: str | None


class RuntimeAccess:
    """Blobs and runs of a runtime.

    Args:
        caller: Takes the requests there.
        observability: Goes with every request, so that it belongs to an execution.
    """

    __slots__ = ("_caller", "_observability")

    def __init__(self, caller: Caller, observability: Observability | None = None) -> None:
        self._caller = caller
        self._observability = observability

    async def put_blob(self, data: Any, blob_type: Literal["data", "flow", "binary"] = "data") -> str:
        """Store content; the same content is stored once.

        Args:
            data: JSON, or what can be written as JSON; `bytes` for `binary`.
            blob_type: `flow` is validated at once.

        Returns:
            The blob's id.

        Raises:
            RpcError: `VALIDATION_FAILED`, with `data["issues"]`, for a bad flow; `LIMIT_EXCEEDED`.
        """
        params = PutBlobParams(_encode_blob(data, blob_type), BlobType(blob_type), self._observability)
        result: str = (await self._caller.call(methods.PUT_BLOB, params)).blob_id
        return result

    async def get_blob(self, blob_id: str, type: Any = None) -> Any:
        """Read content by its id.

        Args:
            blob_id: As `put_blob` gave it.
            type: The type to read JSON as; `None` for plain JSON.

        Returns:
            The JSON value, or `bytes` of a binary blob.

        Raises:
            RpcError: `NOT_FOUND`.
            Unfit: It is not of that type.
        """
        blob = await self._caller.call(methods.GET_BLOB, GetBlobParams(blob_id, observability=self._observability))
        return base64.b64decode(blob.data) if blob.blob_type == BlobType.BINARY else convert(blob.data, type)

    async def submit_run(
        self,
        flow_id: str | None = None,
        inputs: Iterable[Any] = (),
        *,
        flow: FlowSource | None = None,
        wait: bool = False,
        wait_for: WaitForName | None = None,
        timeout_s: float | None = None,
        **options: Unpack[RunOptions],
    ) -> RunStatus:
        """Execute a flow over inputs.

        Args:
            flow_id: The flow's blob id; or give `flow`.
            inputs: One per item; any iterable. Many go in several requests, and the first begin at once.
            flow: A flow as data, a builder, or the path of a YAML or JSON file; it is stored first.
            wait: Answer when the run has ended, with all results by index; else once it is durable, without.
            wait_for: `settled`: also when it is suspended.
            timeout_s: Bounds the waiting, not the run: then the status is the answer as it is.
            **options: See `RunOptions`.

        Raises:
            RpcError: What the runtime refuses, with what to do about it.
        """
        return await self._submit(await self._store_flow(flow_id, flow), inputs, wait, wait_for, timeout_s, options)

    async def start(self, flow: FlowSource, inputs: Iterable[Any] = (), **options: Unpack[RunOptions]) -> Run:
        """Submit a run and get a handle on it.

        Args:
            flow: A flow id, the path of a YAML or JSON file, a flow as data, or a builder.
            inputs: One per item; any iterable.
            **options: See `RunOptions`.
        """
        flow_id = await self._store_flow(None, flow)
        status = await self._submit(flow_id, inputs, False, None, None, options)
        return Run(self._caller, status.run_id, status=status, observability=self._observability)

    async def _store_flow(self, flow_id: str | None, flow: FlowSource | None) -> str:
        if (flow_id is None) == (flow is None):
            raise SdkError("Give either `flow_id` or `flow`.")
        if flow_id is not None:
            return flow_id
        assert flow is not None
        return str(flow) if is_flow_id(flow) else await self.put_blob(load_flow(flow), "flow")

    async def _submit(
        self,
        flow_id: str,
        inputs: Iterable[Any],
        wait: bool,
        wait_for: WaitForName | None,
        timeout_s: float | None,
        options: RunOptions,
    ) -> RunStatus:
        chunks = chunk_inputs(inputs)
        chunk, is_only = next(chunks)
        params = make_submission(flow_id, chunk, self._observability, options)
        if is_only and wait:
            params.wait, params.timeout_ms = True, to_ms(timeout_s)
            params.wait_for = None if wait_for is None else WaitFor(wait_for)
        if not is_only:
            params.sealed = False
        status: RunStatus = await self._caller.call(methods.SUBMIT_RUN, params)
        total = len(chunk)
        for chunk, is_last in chunks:
            append = AppendParams(status.run_id, total, chunk, sealed=is_last, observability=self._observability)
            await self._caller.call(methods.APPEND_RUN, append)
            total += len(chunk)
        if is_only and status.next_offset is None:
            return status
        return await self._get_run(status.run_id, wait, wait, ResultOrder.BY_INDEX, wait_for, timeout_s)

    async def _get_run(
        self,
        run_id: str,
        wait: bool = False,
        include_results: bool = False,
        order: ResultOrder = ResultOrder.BY_INDEX,
        wait_for: WaitForName | None = None,
        timeout_s: float | None = None,
    ) -> RunStatus:
        status = await self._get_page(run_id, wait, include_results, order, wait_for, timeout_s)
        while status.next_offset is not None and status.results is not None:
            page = await self._get_page(run_id, False, True, order, None, None, status.next_offset)
            status.results += page.results or []
            status.next_offset = page.next_offset
        return status

    async def _get_page(
        self,
        run_id: str,
        wait: bool,
        include_results: bool,
        order: ResultOrder,
        wait_for: WaitForName | None,
        timeout_s: float | None,
        offset: int | None = None,
    ) -> RunStatus:
        params = GetRunParams(
            run_id,
            wait=wait or None,
            include_results=include_results or None,
            result_order=order if include_results else None,
            observability=self._observability,
            wait_for=None if wait_for is None else WaitFor(wait_for),
            timeout_ms=to_ms(timeout_s),
            result_offset=offset,
        )
        status: RunStatus = await ask_about_run(self._caller, run_id, methods.GET_RUN, params)
        return status


def _encode_blob(data: Any, blob_type: str) -> Raw:
    is_bytes = isinstance(data, bytes | bytearray | memoryview)
    if is_bytes != (blob_type == "binary"):
        raise SdkError("Bytes are stored with blob_type='binary', and nothing else is.")
    if blob_type == "flow":
        data = load_flow(data)
    return Raw(encode(data))


def _stand_in_trace(observability: Observability | None, traceparent: str) -> Observability:
    match traceparent.split("-"):
        case [_, trace_id, span_id, _]:
            return replace(observability or Observability(), trace_id=trace_id, span_id=span_id)
        case _:
            raise SdkError(f"{traceparent!r} is no traceparent; it is written 00-TRACE_ID-SPAN_ID-FLAGS.")


def make_submission(
    flow_id: str, inputs: list[Raw], observability: Observability | None, options: RunOptions
) -> SubmitParams:
    plain = dict(options)
    for name in ("run_timeout_s", "delay_until", "traceparent"):
        plain.pop(name, None)
    if (traceparent := options.get("traceparent")) is not None:
        observability = _stand_in_trace(observability, traceparent)
    variables = options.get("variables")
    try:
        params = SubmitParams(flow_id, inputs, observability=observability, **plain)  # type: ignore[arg-type]
    except TypeError as error:
        raise TypeError(f"submit_run: {error}") from None
    params.variables = None if variables is None else {name: Raw(encode(value)) for name, value in variables.items()}
    params.run_timeout_ms = to_ms(options.get("run_timeout_s"))
    if (delay_until := options.get("delay_until")) is not None:
        params.delay_until = delay_until.astimezone(UTC).isoformat()
    return params
