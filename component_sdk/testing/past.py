"""A recorded run as the past that its components live through again: what they ask is answered as it was.

Sub-runs give what they gave then, suspensions what they were resumed with, blobs and streams what was in them; sleeps
take no time. What was not recorded is noted. `replay` is above.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

import msgspec
from msgspec import Struct

from component_sdk.testing.execution import RUN_ID
from component_sdk.testing.fake_byproducts import FakeByproducts
from component_sdk.testing.fake_runtime import FakeRuntime
from protocol.byproducts import DEFAULT_NAMESPACE, Encoding, ReadStreamParams, StreamParams, WriteStreamParams
from protocol.methods import Method
from protocol.recording import RecordedBlob, RecordedChunk, Recording
from protocol.runs import SubmitParams
from protocol.types import BlobType, GetBlobParams


class Past:
    """One recorded run.

    Args:
        run: As it was recorded.
        blobs: All that were recorded with it.
    """

    def __init__(self, run: Recording, blobs: Mapping[str, RecordedBlob]) -> None:
        self.run = run
        self._blobs = {blob_id: (blob.data, blob.type) for blob_id, blob in blobs.items()}
        self._blobs |= {sub_run.flow_id: (sub_run.flow, BlobType.FLOW) for sub_run in run.sub_runs}

    def answer(self) -> PastRuntime:
        """Answers what one call asks."""
        runtime = PastRuntime(self.run)
        runtime.blobs.update(self._blobs)
        return runtime

    def find_writes(self, item: int, step: str) -> dict[str, list[Any]]:
        """What a step wrote to the run's streams, by namespace."""
        writes = {
            namespace: [_read(chunk) for chunk in chunks if (chunk.item, chunk.step) == (item, step)]
            for namespace, chunks in (self.run.streams or {}).items()
        }
        return {namespace: chunks for namespace, chunks in sorted(writes.items()) if chunks}


class PastRuntime(FakeRuntime):
    """Answers what one call asks.

    Attributes:
        missing: What it asked that was not recorded: sentences without their ends.
    """

    def __init__(self, run: Recording) -> None:
        super().__init__(self._run_item)
        self.missing: list[str] = []
        self._run = run

    @property
    def writes(self) -> dict[str, list[Any]]:
        """What was written to the run's own streams, by namespace."""
        streams = sorted(self.byproducts.streams.items())
        return {namespace: [_show(chunk) for chunk in chunks] for namespace, chunks in streams if chunks}

    async def call(self, method: Method, params: Struct) -> Any:
        match params:
            case GetBlobParams(blob_id=blob_id) if blob_id not in self.blobs:
                self.missing.append(f"It reads the blob {blob_id}, which the recording does not hold")
            case ReadStreamParams(run_id=run_id, namespace=namespace):
                return self._recall(run_id, namespace or DEFAULT_NAMESPACE).answer(method, params)
            case WriteStreamParams(run_id=run_id) | StreamParams(run_id=run_id) if run_id != RUN_ID:
                return FakeByproducts("").answer(method, params)  # nothing is compared of what others have
            case _:
                pass
        return await super().call(method, params)

    def _recall(self, run_id: str, namespace: str) -> FakeByproducts:
        """A stream as it was at its end."""
        run = self._run if run_id == RUN_ID else self._find_sub_run(run_id)
        past = FakeByproducts("")
        if run is None:
            self.missing.append(f"It reads the stream {namespace} of a run that was not recorded")
        else:
            past.streams[namespace] = [_unwrap(chunk) for chunk in (run.streams or {}).get(namespace, [])]
        return past

    def _find_sub_run(self, run_id: str) -> Recording | None:
        """What was recorded of a run that was submitted just now."""
        for known, params in zip(self.runs, self.submissions, strict=False):
            if known == run_id:
                return next((run for run in self._find_runs(params) if _has_inputs(run, params)), None)
        return None

    def _find_runs(self, params: SubmitParams) -> Iterable[Recording]:
        return self._list_runs(self.blobs[params.flow_id][0])

    def _list_runs(self, flow: Mapping[str, Any]) -> Iterable[Recording]:
        name = flow.get("name")
        return (run for run in self._run.sub_runs if run.flow == flow or (name and run.flow.get("name") == name))

    def _run_item(self, flow: Mapping[str, Any], value: Any) -> Any:
        for run in self._list_runs(flow):
            for item in run.items:
                if item.result is not None and alike(item.input, value):
                    return item.result
        told = f"{flow.get('name') or 'a flow'} with {msgspec.json.encode(value).decode()}"
        self.missing.append(f"It submits a run that was not recorded: {told}")
        raise LookupError("not recorded")


def _has_inputs(run: Recording, params: SubmitParams) -> bool:
    return alike([item.input for item in run.items], [msgspec.json.decode(raw) for raw in params.inputs])


def _unwrap(chunk: RecordedChunk) -> Any:
    """A chunk as a `FakeByproducts` has it."""
    return msgspec.convert(chunk.data, bytes) if chunk.encoding is Encoding.BASE64 else chunk.data


def _read(chunk: RecordedChunk) -> Any:
    return _show(_unwrap(chunk))


def _show(chunk: Any) -> Any:
    """A chunk as it is compared, and shown where it differs."""
    return {"base64": msgspec.to_builtins(chunk)} if isinstance(chunk, bytes) else chunk


def alike(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; `true` is no number, and the last digits of floats do not count."""
    if is_object(one) and is_object(other):
        return one.keys() == other.keys() and all(alike(member, other[name]) for name, member in one.items())
    if is_array(one) and is_array(other):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, float) or isinstance(other, float):
        return isinstance(one, int | float) and isinstance(other, int | float) and math.isclose(one, other)
    return bool(one == other)


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_array(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
