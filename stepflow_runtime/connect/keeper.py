"""Keeps one component server connected: opens its origin, and opens it again when the connection has ended.

It knows when, and not what for: `supervisor` gives it what is done with an open connection. A keeper that is retired
has a successor for the same origin, which is ready by then; it lets what is in flight end for a while, and ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio
from msgspec import Struct

from protocol.errors import ItemErrorCode
from protocol.log import Logger
from stepflow_runtime.connect.origin import Opened, Origin
from stepflow_runtime.model.outcome import Failure

log = Logger(__name__)

HEALTHY_S: Final = 10.0
"""A connection that lasted so long makes the next pause a short one again."""


class Backoff(Struct, frozen=True):
    """How long to wait before starting a server again."""

    first_s: float = 0.1
    max_s: float = 10.0

    def delay_s(self, failures: int, jitter: float) -> float:
        """The pause after so many failures in a row.

        Args:
            failures: At least 1.
            jitter: From 0 to 1; the pause is between half and all of the exponential value.
        """
        return min(self.first_s * 2.0 ** min(failures - 1, 30), self.max_s) * (0.5 + jitter / 2)


class Keeper:
    """One server that is to be there.

    Args:
        origin: Where it comes from.
        name: The server's, for messages.
        serve: Uses a connection until it has ended, and tells why it did; calls `note_ready` in between.
        note: Hears why the server is not there, each time.
        backoff: The pauses.
        jitter: Random numbers from 0 to 1.

    Attributes:
        retired: Set when it is to end, because its successor is ready.
        reason: Then, why.
    """

    def __init__(
        self,
        origin: Origin,
        name: str,
        *,
        serve: Callable[[Opened, Keeper], Awaitable[Failure]],
        note: Callable[[str, Failure], None],
        backoff: Backoff,
        jitter: Callable[[], float],
    ) -> None:
        self.origin = origin
        self.name = name
        self.retired = trio.Event()
        self.reason = ""
        self._serve = serve
        self._note = note
        self._backoff = backoff
        self._jitter = jitter
        self._first_outcome: Failure | None = None
        self._settled = trio.Event()
        self._scope = trio.CancelScope()

    async def run(self, *, on_trial: bool = False) -> None:
        """Keeps it connected until it is retired or given up; on trial it has one attempt to become ready."""
        failures = 0
        with self._scope:
            while not self.retired.is_set():
                started = trio.current_time()
                failure = await self._serve_once()
                if self.retired.is_set():
                    return
                self._settle(failure)
                if on_trial and self._first_outcome is not None:
                    return
                self._note(self.name, failure)
                failures = 1 if trio.current_time() - started >= HEALTHY_S else failures + 1
                await self._pause(failure, failures)

    async def _serve_once(self) -> Failure:
        try:
            async with self.origin.open() as opened:
                return await self._serve(opened, self)
        except OSError as error:
            return Failure(ItemErrorCode.UNREACHABLE, str(error))

    async def _pause(self, failure: Failure, failures: int) -> None:
        delay_s = self._backoff.delay_s(failures, self._jitter())
        if failures.bit_count() == 1:  # the first, second, fourth, eighth: a crash loop shall not flood the log
            log.warning(
                "component server is not there",
                server=self.name,
                reason=failure.message,
                failures=failures,
                retry_in_s=round(delay_s, 1),
            )
        with trio.move_on_after(delay_s):
            await self.retired.wait()

    # --- one after the other -----------------------------------------------------------------------------------------

    def note_ready(self) -> None:
        """The server has been initialized and is used."""
        self._settle(None)

    def _settle(self, outcome: Failure | None) -> None:
        if not self._settled.is_set():
            self._first_outcome = outcome
            self._settled.set()

    async def try_out(self) -> Failure | None:
        """Waits until the server is ready for the first time, or could not be started; then tells why."""
        await self._settled.wait()
        return self._first_outcome

    def retire(self, reason: str) -> None:
        """Another one has taken its place."""
        self.reason = reason
        self.retired.set()

    def give_up(self) -> None:
        """Ends it at once: it is not wanted."""
        self._scope.cancel()
