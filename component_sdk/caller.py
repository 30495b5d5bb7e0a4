"""How requests reach the runtime: the one thing that contexts and clients need from below.

A `Caller` answers `call`. Over a link it is a `LinkCaller`; a client has one that dials again (`connection`), asyncio
components one that crosses to trio's thread (`backends`), and tests one without a wire (`testing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import trio
from msgspec import Struct

from component_sdk.errors import RunNotFoundError
from protocol.errors import ErrorCode, RpcError
from protocol.methods import Method

if TYPE_CHECKING:
    from protocol.link import Link

DEFAULT_RETRY_AFTER_MS: Final = 100


class Caller(Protocol):
    """Sends one request and waits for its answer."""

    async def call(self, method: Method, params: Struct) -> Any:
        """Send a request.

        Returns:
            The result, of the method's result type.

        Raises:
            RpcError: The runtime answered an error.
            LinkClosed: The connection ended before the answer.

        Cancellation:
            The runtime is told that the answer is no longer wanted.
        """
        ...


class LinkCaller:
    """Calls over one link, again and again while the runtime is too busy (PROTOCOL §6, `throttled`)."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def call(self, method: Method, params: Struct) -> Any:
        while True:
            try:
                return await self._link.call(method, params)
            except RpcError as error:
                if error.code != ErrorCode.THROTTLED:
                    raise
                delay_ms = error.data.get("retryAfterMs", DEFAULT_RETRY_AFTER_MS)
            await trio.sleep(delay_ms / 1000)


async def ask_about_run(caller: Caller, run_id: str, method: Method, params: Struct) -> Any:
    """Send a request about one run.

    Raises:
        RunNotFoundError: There is no such run.
    """
    try:
        return await caller.call(method, params)
    except RpcError as error:
        if error.code != ErrorCode.RUN_NOT_FOUND:
            raise
        raise RunNotFoundError(error.message, run_id, error) from error
