"""How a request is turned down: in JSON, with a status of HTTP and, if a method refused it, its code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from protocol.errors import ErrorCode, RpcError

_STATUS: Final[Mapping[int, int]] = {
    ErrorCode.INVALID_PARAMS: 400,
    ErrorCode.NOT_AUTHENTICATED: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.RUN_NOT_FOUND: 404,
    ErrorCode.CONFLICT: 409,
    ErrorCode.NOT_SUSPENDED: 409,
    ErrorCode.ALREADY_RESUMED: 409,
    ErrorCode.NOT_CURRENT: 409,
    ErrorCode.STREAM_CLOSED: 409,
    ErrorCode.LIMIT_EXCEEDED: 413,
    ErrorCode.VALIDATION_FAILED: 422,
    ErrorCode.THROTTLED: 429,
}


class Refused(Exception):
    """The request goes no further.

    Args:
        status: Of the answer.
        message: What is wrong and what to do.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def status_of(error: Refused | RpcError) -> int:
    """The status of HTTP that says about as much."""
    return error.status if isinstance(error, Refused) else _STATUS.get(error.code, 500)


def explain(error: Refused | RpcError) -> Response:
    """The answer."""
    told: dict[str, Any] = {"message": str(error)}
    if isinstance(error, RpcError):
        told = {"code": error.code, "message": error.message, "data": error.data}
    return answer_json({"error": told}, status_of(error))


async def refuse(_: Request, error: Exception) -> Response:
    """How an application answers what was refused while it worked."""
    assert isinstance(error, Refused | RpcError)
    return explain(error)


def answer_json(value: Any, status: int = 200) -> Response:
    """An answer; structs are written as they are on the wire."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")
