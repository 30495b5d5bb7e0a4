"""What peers are told while nothing can be stored: a client that it failed, an execution that it is to come again."""

from __future__ import annotations

from typing import Final

from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.ports import StoreUnavailable

RETRY_MS: Final = 1000
"""When to try again; the SDK does for components, so that running work waits for the disk."""


def refuse_unstored(what: str, error: StoreUnavailable, *, may_wait: bool) -> RpcError:
    """The answer to a request that could not be made durable; nothing of it was kept.

    Args:
        what: Was to be stored, with its article.
        may_wait: Whether the peer executes something, so that its work goes on when the store does.
    """
    code = ErrorCode.THROTTLED if may_wait else ErrorCode.INTERNAL_ERROR
    message = f"{what} was not stored, send it again later: {error}"
    return RpcError(code, message, reason="storeUnavailable", retryAfterMs=RETRY_MS)
