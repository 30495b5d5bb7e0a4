"""A runtime in memory, for what components ask: blobs, sub-runs that plain functions compute, sleeps, streams.

Sub-runs can be read, restarted and travelled. It executes no flows: that is what a real runtime is for.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import trio
from blake3 import blake3
from msgspec import Struct

from component_sdk.testing.fake_byproducts import FakeByproducts
from component_sdk.testing.fake_runs import FakeRuns, RunItem
from protocol.errors import ErrorCode, RpcError
from protocol.methods import Method
from protocol.runs import SleepParams, SleepResult
from protocol.types import BlobType, GetBlobParams, GetBlobResult, PutBlobParams, PutBlobResult

_NOW = "2025-01-15T10:30:00.000Z"


class FakeRuntime:
    """A runtime in memory. Every sub-run has ended when its submission is answered.

    Args:
        run_item: Computes the items of sub-runs; or give `flows`.
        flows: The same by the flow's name: functions of the input.

    Attributes:
        blobs: JSON by blob id.
        submissions: What was submitted, in order.
        controls: What was asked of runs besides reading them, in order: restarts, travels, cancellations, …
        sleeps: How long components slept; none of it takes time here.
        runs: The runs by id, with all results.
        byproducts: The streams, checkpoints and artifacts.
    """

    def __init__(
        self, run_item: RunItem | None = None, *, flows: Mapping[str, Callable[[Any], Any]] | None = None
    ) -> None:
        self.blobs: dict[str, tuple[Any, BlobType]] = {}
        self.sleeps: list[SleepParams] = []
        self.byproducts = FakeByproducts(_NOW)
        self._runs = FakeRuns(lambda flow_id: self._find_blob(flow_id)[0], self._compute, _NOW)
        self.submissions, self.controls, self.runs = self._runs.submissions, self._runs.controls, self._runs.runs
        self._run_item = run_item
        self._flows = dict(flows or {})

    def put_blob(self, data: Any, blob_type: BlobType = BlobType.DATA) -> str:
        """Store content, e.g. a flow of which a component is given the id: the one that a runtime would give it."""
        value = msgspec.to_builtins(data)
        raw = msgspec.json.encode(value, order="sorted")
        content = base64.b64decode(value) if blob_type is BlobType.BINARY else raw
        blob_id = f"blake3:{blake3(content).hexdigest()}"
        self.blobs[blob_id] = (msgspec.json.decode(raw), blob_type)
        return blob_id

    async def call(self, method: Method, params: Struct) -> Any:
        """Answer a request, as the wire's `Caller` does.

        Raises:
            RpcError: As a runtime would.
        """
        await trio.lowlevel.checkpoint()
        match params:
            case PutBlobParams():
                return PutBlobResult(self.put_blob(msgspec.json.decode(params.data), params.blob_type or BlobType.DATA))
            case GetBlobParams():
                return GetBlobResult(*self._find_blob(params.blob_id))
            case SleepParams():
                self.sleeps.append(params)
                return SleepResult(woken=False)
            case _ if method.name in self._runs.answers:
                return await self._runs.answers[method.name](params)
            case _:
                answer = self.byproducts.answer(method, params)
                if answer is None:
                    raise RpcError(ErrorCode.METHOD_NOT_FOUND, f"FakeRuntime does not know {method.name}.")
                return answer

    def _find_blob(self, blob_id: str) -> tuple[Any, BlobType]:
        if blob_id not in self.blobs:
            raise RpcError(ErrorCode.NOT_FOUND, f"There is no blob {blob_id}; put it first.", kind="blob")
        return self.blobs[blob_id]

    def _compute(self, flow: Mapping[str, Any], value: Any) -> Any:
        function = self._flows.get(flow.get("name", ""))
        if function is not None:
            return function(value)
        if self._run_item is not None:
            return self._run_item(flow, value)
        raise LookupError(f"this FakeRuntime cannot run the flow {flow.get('name')!r}; give it run_item= or flows=")
