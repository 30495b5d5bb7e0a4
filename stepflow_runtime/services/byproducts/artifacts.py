"""Artifacts (PROTOCOL §4): blobs with names, which a run made and which are kept as long as it is.

An artifact's id follows from what it is, so the same one is there once, however often it is put.
"""

from __future__ import annotations

import msgspec
from blake3 import blake3

from protocol.byproducts import Artifact, GetArtifactParams, ListArtifactsResult, PutArtifactParams
from protocol.errors import ErrorCode, RpcError
from protocol.runs import RunParams
from protocol.types import Observability
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.ports import ArtifactRecord, ByproductStore, Clock
from stepflow_runtime.services.blobs import BlobService
from stepflow_runtime.services.byproducts.additions import Additions, ByproductLimits, Target, refuse_ended
from stepflow_runtime.services.lookup import RunLookup
from stepflow_runtime.services.status import format_time
from stepflow_runtime.services.submission import limit_exceeded
from stepflow_runtime.services.visibility import Visibility


class ArtifactService:
    """Keeps artifacts and tells them.

    Args:
        additions: Finds the run to add to.
        byproducts: Has the artifacts.
        blobs: Has their content.
        lookup: Finds runs.
        visibility: Tells what a peer may see.
        clock: Gives them their time.
        limits: Of artifacts.
    """

    def __init__(
        self,
        additions: Additions,
        byproducts: ByproductStore,
        blobs: BlobService,
        lookup: RunLookup,
        visibility: Visibility,
        clock: Clock,
        limits: ByproductLimits,
    ) -> None:
        self._additions = additions
        self._byproducts = byproducts
        self._blobs = blobs
        self._lookup = lookup
        self._visibility = visibility
        self._clock = clock
        self._limits = limits

    async def put(self, params: PutArtifactParams, connection: Connection) -> Artifact:
        """`runs/artifacts/put`: of the item that is said, or else that is executed; answered when it is durable.

        Raises:
            RpcError: `RUN_NOT_FOUND`, `NOT_CURRENT`, `NOT_FOUND` (blob), `LIMIT_EXCEEDED`; `INVALID_PARAMS` for an item
                that the run does not have.
        """
        target = await self._additions.open(params.run_id, connection, params.observability)
        size = await self._blobs.size(params.blob_id)
        item_index = _find_item(params, target)
        claimed = self._additions.claim(target)
        if claimed is None:
            raise refuse_ended(target.run_id, "artifact")
        run, made = claimed
        artifact_id = _identify(params, item_index)
        record = made.artifacts.get(artifact_id)
        if record is None:
            limit = self._limits.max_artifacts
            if len(made.artifacts) >= limit:
                why = "the run has too many artifacts; put several things into one"
                raise limit_exceeded("maxArtifacts", limit, len(made.artifacts) + 1, why, runId=target.run_id)
            record = ArtifactRecord(
                artifact_id,
                item_index,
                params.name,
                params.type,
                params.mime_type,
                size,
                BlobId(params.blob_id),
                self._clock.wall_ms(),
            )
            made.put_artifact(record)
        await self._additions.commit(run)
        return _describe(target.run_id, record)

    async def list_all(self, params: RunParams, connection: Connection) -> ListArtifactsResult:
        """`runs/artifacts/list`: in the order in which they were put."""
        run_id, records = await self._read(params.run_id, connection, params.observability)
        return ListArtifactsResult([_describe(run_id, record) for record in records])

    async def get(self, params: GetArtifactParams, connection: Connection) -> Artifact:
        """`runs/artifacts/get`.

        Raises:
            RpcError: `RUN_NOT_FOUND`, `NOT_FOUND`.
        """
        run_id, records = await self._read(params.run_id, connection, params.observability)
        for record in records:
            if record.artifact_id == params.artifact_id:
                return _describe(run_id, record)
        message = (
            f"run {run_id} has no artifact {params.artifact_id[:100]}; runs/artifacts/list tells those that it has"
        )
        raise RpcError(ErrorCode.NOT_FOUND, message, kind="artifact", runId=run_id)

    async def _read(
        self, run_id: str, connection: Connection, observability: Observability | None
    ) -> tuple[RunId, list[ArtifactRecord]]:
        record = await self._lookup.find(RunId(run_id))
        self._visibility.require(connection, record, run_id, observability)
        return RunId(run_id), await self._byproducts.artifacts(RunId(run_id))


def _find_item(params: PutArtifactParams, target: Target) -> int | None:
    total = target.record.progress.total
    if params.item_index is None:
        execution = target.execution
        return execution.item_index if execution is not None and execution.run_id == target.run_id else None
    if params.item_index >= total:
        message = f"itemIndex must name an item of the run, which has {total}"
        raise RpcError(ErrorCode.INVALID_PARAMS, message, path="$.itemIndex", runId=target.run_id)
    return params.item_index


def _identify(params: PutArtifactParams, item_index: int | None) -> str:
    content = (item_index, params.name, params.type, params.mime_type, params.blob_id)
    return blake3(msgspec.json.encode(content)).hexdigest(16)


def _describe(run_id: RunId, record: ArtifactRecord) -> Artifact:
    return Artifact(
        artifact_id=record.artifact_id,
        run_id=run_id,
        item_index=record.item_index,
        name=record.name,
        type=record.type,
        mime_type=record.mime_type,
        size=record.size,
        blob_id=record.blob_id,
        created_at=format_time(record.created_at_ms),
    )
