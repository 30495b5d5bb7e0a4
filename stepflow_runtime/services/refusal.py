"""What peers are told while nothing can be stored: a client that it failed, an execution that it is to come again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.ports import Entry, Registry, StoreUnavailable

RETRY_MS: Final = 1000
"""When to try again; the SDK does for components, so that running work waits for the disk."""


async def add_certainly(registry: Registry, entries: Sequence[Entry]) -> bool:
    """Adds entries whose ids are new, as `Registry.add` does, also if the store writes them and its answer is lost.

    Raises:
        StoreUnavailable: None of them is there.
    """
    try:
        return await registry.add(entries)
    except StoreUnavailable:
        if await registry.entry(entries[0].kind, entries[0].id) is None:
            raise
        return True


def refuse_unstored(what: str, error: StoreUnavailable, *, may_wait: bool) -> RpcError:
    """The answer to a request that could not be made durable; nothing of it was kept.

    Args:
        what: Was to be stored, with its article.
        may_wait: Whether the peer executes something, so that its work goes on when the store does.
    """
    code = ErrorCode.THROTTLED if may_wait else ErrorCode.INTERNAL_ERROR
    message = f"{what} was not stored, send it again later: {error}"
    return RpcError(code, message, reason="storeUnavailable", retryAfterMs=RETRY_MS)
