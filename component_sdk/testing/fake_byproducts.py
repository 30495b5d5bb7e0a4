"""What a `FakeRuntime` keeps of streams, checkpoints and artifacts: plain lists and dictionaries, to be looked at."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Struct

from protocol.byproducts import (
    DEFAULT_NAMESPACE,
    Artifact,
    CheckpointParams,
    CheckpointResult,
    Encoding,
    ListArtifactsResult,
    PutArtifactParams,
    ReadStreamParams,
    ReadStreamResult,
    StreamChunk,
    StreamParams,
    TailResult,
    WriteStreamParams,
)
from protocol.errors import ErrorCode, RpcError
from protocol.methods import LIST_ARTIFACTS, Method
from protocol.runs import RunParams


class FakeByproducts:
    """Streams, checkpoints and artifacts, of whatever run.

    Attributes:
        streams: Chunks by namespace: JSON values and `bytes`.
        checkpoints: Values by key.
        artifacts: In the order in which they were put.
    """

    def __init__(self, now: str) -> None:
        self.streams: dict[str, list[Any]] = {}
        self.checkpoints: dict[str, Any] = {}
        self.artifacts: list[Artifact] = []
        self._closed: set[str] = set()
        self._written: set[tuple[str, str]] = set()
        self._now = now

    def answer(self, method: Method, params: Struct) -> Any:
        """Answers a request, or `None` if it is about something else."""
        match params:
            case WriteStreamParams():
                return TailResult(self._write(params))
            case StreamParams():
                namespace = params.namespace or DEFAULT_NAMESPACE
                self._closed.add(namespace)
                return TailResult(len(self.streams.setdefault(namespace, [])))
            case ReadStreamParams():
                return self._read(params)
            case CheckpointParams():
                if params.value is not UNSET:
                    self.checkpoints.setdefault(params.key, msgspec.json.decode(params.value))
                return CheckpointResult(self.checkpoints.get(params.key), params.key in self.checkpoints)
            case PutArtifactParams():
                return self._put(params)
            case RunParams(run_id=run_id) if method is LIST_ARTIFACTS:
                return ListArtifactsResult([artifact for artifact in self.artifacts if artifact.run_id == run_id])
            case _:
                return None

    def _write(self, params: WriteStreamParams) -> int:
        namespace = params.namespace or DEFAULT_NAMESPACE
        if namespace in self._closed:
            raise RpcError(ErrorCode.STREAM_CLOSED, f"The stream {namespace} is closed.", kind="stream")
        type_: Any = bytes if params.encoding is Encoding.BASE64 else Any
        chunks = self.streams.setdefault(namespace, [])
        if params.write_key is not None:
            if (namespace, params.write_key) in self._written:
                return len(chunks)
            self._written.add((namespace, params.write_key))
        chunks.extend(msgspec.json.decode(chunk, type=type_) for chunk in params.chunks)
        return len(chunks)

    def _read(self, params: ReadStreamParams) -> ReadStreamResult:
        chunks, start = self.streams.get(params.namespace or DEFAULT_NAMESPACE, []), params.start_index or 0
        start = max(0, start + len(chunks)) if start < 0 else start
        return ReadStreamResult(
            [
                StreamChunk(index, msgspec.to_builtins(chunk), Encoding.BASE64 if isinstance(chunk, bytes) else None)
                for index, chunk in enumerate(chunks[start:], start)
            ],
            start,
            len(chunks),
            len(chunks),
            True,
        )

    def _put(self, params: PutArtifactParams) -> Artifact:
        artifact = Artifact(
            artifact_id=f"artifact-{len(self.artifacts)}",
            run_id=params.run_id,
            item_index=params.item_index,
            name=params.name,
            type=params.type,
            mime_type=params.mime_type,
            size=0,
            blob_id=params.blob_id,
            created_at=self._now,
        )
        self.artifacts.append(artifact)
        return artifact
