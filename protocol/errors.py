"""What can go wrong between two peers, as data and as exceptions.

    ProtocolError                 everything this package raises
    ├── RpcError                  an error that a peer answered, or that we will answer
    ├── LinkClosed                the connection ended before the answer came
    └── RemoteProtocolError       the peer broke the protocol; the connection cannot go on

`ErrorCode` are the codes of JSON-RPC answers, `ItemErrorCode` those inside an item's result (PROTOCOL §6).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Any, Final


class ErrorCode(IntEnum):
    """Codes of JSON-RPC errors. `data.type` carries the name in camelCase."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    REQUEST_CANCELLED = -32800
    NOT_AUTHENTICATED = -32002
    NOT_FOUND = -32005
    VERSION_MISMATCH = -32006
    RUN_NOT_FOUND = -32010
    CONFLICT = -32014
    NOT_SUSPENDED = -32015
    ALREADY_RESUMED = -32016
    VALIDATION_FAILED = -32017
    LIMIT_EXCEEDED = -32020
    NOT_CURRENT = -32022
    STREAM_CLOSED = -32023
    THROTTLED = -32024
    # Answered by component servers to `components/execute`; the last three are the published protocol's.
    COMPONENT_FAILED = -32000
    RESOURCE_UNAVAILABLE = -32102
    INVALID_INPUT = -32103

    @property
    def type_name(self) -> str:
        """The name as it is written in an error's `data.type`, e.g. `limitExceeded`."""
        head, *rest = self.name.lower().split("_")
        return head + "".join(word.capitalize() for word in rest)


class ItemErrorCode(StrEnum):
    """Why a step, and with it perhaps an item, failed."""

    COMPONENT_FAILED = "COMPONENT_FAILED"
    RESOURCE_UNAVAILABLE = "RESOURCE_UNAVAILABLE"
    UNREACHABLE = "UNREACHABLE"
    TIMEOUT = "TIMEOUT"
    INVALID_INPUT = "INVALID_INPUT"
    COMPONENT_NOT_FOUND = "COMPONENT_NOT_FOUND"
    EXPRESSION_FAILURE = "EXPRESSION_FAILURE"
    CANCELLED = "CANCELLED"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    INTERNAL = "INTERNAL"


EXECUTE_ERRORS: Final[Mapping[int, ItemErrorCode]] = {
    ErrorCode.METHOD_NOT_FOUND: ItemErrorCode.COMPONENT_NOT_FOUND,
    ErrorCode.INVALID_PARAMS: ItemErrorCode.INVALID_INPUT,
    ErrorCode.INVALID_INPUT: ItemErrorCode.INVALID_INPUT,
    ErrorCode.RESOURCE_UNAVAILABLE: ItemErrorCode.RESOURCE_UNAVAILABLE,
    ErrorCode.LIMIT_EXCEEDED: ItemErrorCode.LIMIT_EXCEEDED,
    ErrorCode.REQUEST_CANCELLED: ItemErrorCode.CANCELLED,
}
"""What an error answer to `components/execute` means for the step; any other code is `COMPONENT_FAILED`."""


class ProtocolError(Exception):
    """Base of all that this package raises."""


class RpcError(ProtocolError):
    """A JSON-RPC error: one that a peer answered, or that a handler raises to have it answered.

    Args:
        code: A JSON-RPC error code, usually an `ErrorCode`.
        message: One sentence that says what is wrong and what to do.
        data: Further fields of the error's `data`; `type` is filled in from the code.
    """

    def __init__(self, code: int, message: str, /, **data: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data: dict[str, Any] = data
        if "type" not in data and code in ErrorCode._value2member_map_:
            self.data = {"type": ErrorCode(code).type_name, **data}

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class LinkClosed(ProtocolError):
    """The connection ended before the answer came."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol so that the connection cannot go on (PROTOCOL §1, §7).

    Args:
        message: One sentence that says what the peer did.
        data: What a program may want to know; `limit` and `value` if a limit was passed.
    """

    def __init__(self, message: str, /, **data: Any) -> None:
        super().__init__(message)
        self.data: dict[str, Any] = data
