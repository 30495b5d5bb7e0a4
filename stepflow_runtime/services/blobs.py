"""Blobs as peers see them (PROTOCOL §3): JSON by its canonical bytes, binary content as base64."""

from __future__ import annotations

import base64
import binascii

import msgspec
from msgspec import Raw

from protocol.errors import ErrorCode, RpcError
from protocol.types import BlobType, GetBlobParams, GetBlobResult, PutBlobParams, PutBlobResult
from stepflow_runtime.connect.connection import Connection, Connections
from stepflow_runtime.model.canonical import blob_id, canonicalize, is_blob_id, parse_json
from stepflow_runtime.model.ids import BlobId
from stepflow_runtime.model.validate import validate
from stepflow_runtime.ports import BlobStore, StoreCorrupt, StoreUnavailable
from stepflow_runtime.services.refusal import refuse_unstored


class BlobService:
    """Stores and reads content by its hash."""

    def __init__(self, blobs: BlobStore, connections: Connections) -> None:
        self._blobs = blobs
        self._connections = connections

    async def put(self, params: PutBlobParams, connection: Connection) -> PutBlobResult:
        """`blobs/put`: a flow is validated at once; refused when its execution is no longer current."""
        self._connections.find_execution(connection, params.observability)
        return PutBlobResult(
            await self.put_raw(bytes(params.data), params.blob_type or BlobType.DATA, may_wait=bool(connection.plugin))
        )

    async def put_raw(self, data: bytes, blob_type: BlobType, *, may_wait: bool = True) -> BlobId:
        """Stores raw JSON; for `binary` it is a string of base64.

        Args:
            may_wait: Whether it is for an execution, which comes again if nothing can be stored now.

        Raises:
            RpcError: `INVALID_PARAMS` for what cannot be hashed exactly, `VALIDATION_FAILED` for a flow that can never
                run, `INTERNAL_ERROR` or `THROTTLED` if nothing can be stored now.
        """
        content = _decode_binary(data) if blob_type is BlobType.BINARY else canonicalize(data)
        if blob_type is BlobType.FLOW:
            validate(parse_json(content)).refuse_errors()
        id = BlobId(blob_id(content))
        try:
            await self._blobs.put(id, content, blob_type)
        except StoreUnavailable as error:
            raise refuse_unstored("the blob", error, may_wait=may_wait) from error
        return id

    async def get(self, params: GetBlobParams, connection: Connection) -> GetBlobResult:
        """`blobs/get`.

        Raises:
            RpcError: `NOT_FOUND`, also for an id that is none; `INTERNAL_ERROR` if what is stored is not what was put.
        """
        content, blob_type = await self._read(params.blob_id)
        is_binary = blob_type is BlobType.BINARY
        if params.blob_type is not None and (params.blob_type is BlobType.BINARY) != is_binary:
            raise _not_found(params.blob_id, f"it is {blob_type}, not {params.blob_type}")
        return GetBlobResult(_encode(content, blob_type), blob_type)

    async def get_json(self, id: str) -> bytes:
        """The content of a blob as raw JSON; a binary one as a string of base64. Raises as `blobs/get` does."""
        return bytes(_encode(*await self._read(id)))

    async def size(self, id: str) -> int:
        """How many bytes the content of a blob has. Raises as `blobs/get` does."""
        content, _ = await self._read(id)
        return len(content)

    async def _read(self, id: str) -> tuple[bytes, BlobType]:
        if not is_blob_id(id):
            raise _not_found(id, "an id is `blake3:` and 64 lower-case hex digits")
        try:
            blob = await self._blobs.get(BlobId(id))
        except StoreCorrupt as error:
            raise RpcError(
                ErrorCode.INTERNAL_ERROR, f"blob {id} is damaged in the store; put it again to heal it", kind="blob"
            ) from error
        if blob is None:
            raise _not_found(id, "put it first")
        return blob


def _encode(content: bytes, blob_type: BlobType) -> Raw:
    return Raw(b'"%b"' % base64.b64encode(content) if blob_type is BlobType.BINARY else content)


def _decode_binary(data: bytes) -> bytes:
    try:
        return base64.b64decode(msgspec.json.decode(data, type=str), validate=True)
    except (msgspec.MsgspecError, binascii.Error) as error:
        raise RpcError(
            ErrorCode.INVALID_PARAMS, f"data of a binary blob must be a string of base64: {error}", path="$.data"
        ) from error


def _not_found(id: str, why: str) -> RpcError:
    return RpcError(ErrorCode.NOT_FOUND, f"there is no blob {id[:100]}: {why}", kind="blob")
