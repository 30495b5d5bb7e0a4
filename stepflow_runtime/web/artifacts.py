"""Artifacts of runs as files: up and down, and by links that anybody may follow until they expire.

What a run made is never shown as a page of ours: the browser gets it in a sandbox, and everything but pictures, plain
text and JSON as a file to save (FAULTS 42).
"""

from __future__ import annotations

import base64
from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Raw
from starlette.requests import Request
from starlette.responses import Response

from protocol.byproducts import Artifact, GetArtifactParams, ListArtifactsResult, PutArtifactParams
from protocol.methods import GET_ARTIFACT, LIST_ARTIFACTS, PUT_ARTIFACT, PUT_BLOB
from protocol.runs import RunParams
from protocol.types import BlobType, GetBlobParams, PutBlobParams, PutBlobResult
from stepflow_runtime.connect.tokens import Role
from stepflow_runtime.ports import Clock
from stepflow_runtime.web.gateway import Gateway
from stepflow_runtime.web.query import read_int
from stepflow_runtime.web.readings import GET_BLOB, RawBlob
from stepflow_runtime.web.refusal import Refused, answer_json
from stepflow_runtime.web.signing import DEFAULT_LIFE_MS, MAX_LIFE_MS, SignedLink, Signer

SHOWN: Final = frozenset(
    {"text/plain", "application/json", "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"}
)
"""Types that no browser executes anything in."""


class Artifacts:
    """Artifacts of runs.

    Args:
        gateway: Calls the runtime.
        signer: Makes and checks links.
        clock: Tells when they expire.
    """

    def __init__(self, gateway: Gateway, signer: Signer, clock: Clock) -> None:
        self._gateway = gateway
        self._signer = signer
        self._clock = clock

    async def list_all(self, request: Request) -> Response:
        """`GET /runs/{run_id}/artifacts`: what `runs/artifacts/list` answers, each with its `url`."""
        run_id = request.path_params["run_id"]
        artifacts = await self._list(run_id, request.scope["role"])
        return answer_json({"artifacts": [_describe(artifact) for artifact in artifacts]})

    async def put(self, request: Request) -> Response:
        """`PUT /runs/{run_id}/artifacts/{name}?type=&itemIndex=`: the body is the content; 201 with the artifact."""
        run_id, role = request.path_params["run_id"], request.scope["role"]
        content = Raw(b'"%b"' % base64.b64encode(await request.body()))
        blob: PutBlobResult = await self._gateway.call(PUT_BLOB, PutBlobParams(content, BlobType.BINARY), role)
        params = PutArtifactParams(
            run_id,
            request.path_params["name"],
            request.headers.get("content-type") or "application/octet-stream",
            blob.blob_id,
            type=request.query_params.get("type"),
            item_index=read_int(request, "itemIndex"),
        )
        artifact: Artifact = await self._gateway.call(PUT_ARTIFACT, params, role)
        return answer_json(_describe(artifact), 201)

    async def get(self, request: Request) -> Response:
        """`GET /runs/{run_id}/artifacts/{name}?artifactId=`: the last one of that name, or the one with that id."""
        return await self._send(await self._find(request), request)

    async def sign(self, request: Request) -> Response:
        """`POST /runs/{run_id}/artifacts/{name}?artifactId=&expiresInMs=`: 201 with a link that needs no token."""
        life_ms = read_int(request, "expiresInMs", DEFAULT_LIFE_MS) or 0
        if not 0 < life_ms <= MAX_LIFE_MS:
            raise Refused(400, f"expiresInMs must be from 1 to {MAX_LIFE_MS}.")
        artifact = await self._find(request)
        expires_at_ms = self._clock.wall_ms() + life_ms
        path = self._signer.sign(artifact.run_id, artifact.artifact_id, expires_at_ms)
        return answer_json(SignedLink(str(request.base_url).rstrip("/") + path, expires_at_ms), 201)

    async def get_signed(self, request: Request) -> Response:
        """`GET /signed/{run_id}/{artifact_id}?expires=&signature=`: what `sign` made."""
        run_id, artifact_id = request.path_params["run_id"], request.path_params["artifact_id"]
        expires_at_ms = read_int(request, "expires", 0) or 0
        if not self._signer.matches(request.query_params.get("signature", ""), run_id, artifact_id, expires_at_ms):
            raise Refused(403, "This link was not signed by this runtime; ask for a new one.")
        if expires_at_ms < self._clock.wall_ms():
            raise Refused(410, "This link has expired; ask for a new one.")
        params = GetArtifactParams(run_id, artifact_id)
        return await self._send(await self._gateway.call(GET_ARTIFACT, params, "read-only"), request)

    async def _list(self, run_id: str, role: Role) -> list[Artifact]:
        found: ListArtifactsResult = await self._gateway.call(LIST_ARTIFACTS, RunParams(run_id), role)
        return found.artifacts

    async def _find(self, request: Request) -> Artifact:
        run_id, name = request.path_params["run_id"], request.path_params["name"]
        wanted = request.query_params.get("artifactId")
        for artifact in reversed(await self._list(run_id, request.scope["role"])):
            if artifact.name == name and wanted in (None, artifact.artifact_id):
                return artifact
        raise Refused(404, "This run has no such artifact; GET /runs/…/artifacts tells those that it has.")

    async def _send(self, artifact: Artifact, request: Request) -> Response:
        headers = {
            "Content-Disposition": _dispose(artifact),
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "private, no-cache",
            "ETag": f'"{artifact.blob_id}"',
        }
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        blob: RawBlob = await self._gateway.call(GET_BLOB, GetBlobParams(artifact.blob_id), "read-only")
        content = bytes(blob.data)
        if blob.blob_type is BlobType.BINARY:
            content = base64.b64decode(msgspec.json.decode(content, type=str))
        return Response(content, headers={**headers, "Content-Type": artifact.mime_type})


def link_to(artifact: Artifact) -> str:
    """The path at which an artifact is."""
    return f"/runs/{quote(artifact.run_id, '')}/artifacts/{quote(artifact.name, '')}?artifactId={artifact.artifact_id}"


def _describe(artifact: Artifact) -> dict[str, Any]:
    described: dict[str, Any] = msgspec.to_builtins(artifact)
    return {**described, "url": link_to(artifact)}


def _dispose(artifact: Artifact) -> str:
    kind = artifact.mime_type.partition(";")[0].strip().lower()
    how = "inline" if kind in SHOWN else "attachment"
    return f"{how}; filename*=UTF-8''{quote(artifact.name.rpartition('/')[2] or artifact.name, '')}"
