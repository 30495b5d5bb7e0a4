"""What needs the store and cannot do without it waits until it is available, and says so once.

Nothing is lost meanwhile: what waits is held in memory, and goes on as if nothing had been.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from protocol.log import Logger
from stepflow_runtime.ports import StoreUnavailable

T = TypeVar("T")

STORE_RETRY_S: Final = 0.5
"""Between two tries while the store is unavailable."""

log = Logger(__name__)


async def insist(what: str, work: Callable[[], Awaitable[T]]) -> T:
    """Does something as soon as the store is available.

    Args:
        what: Waits, for the log.
        work: Reads or writes; if the store refuses it is done again from its top.

    Returns:
        What `work` does.
    """
    refused = False
    while True:
        try:
            done = await work()
        except StoreUnavailable as error:
            if not refused:
                log.warning(f"store unavailable: {what} waits", reason=str(error))
            refused = True
            await trio.sleep(STORE_RETRY_S)
            continue
        if refused:
            log.info(f"store available again: {what} goes on")
        return done
