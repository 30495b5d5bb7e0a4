"""A run with somebody in front of it: fed with its inputs, followed to its end, and cancelled politely by Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Final

import trio

from protocol.errors import ErrorCode, RpcError
from protocol.link import Link
from protocol.methods import CANCEL_RUN
from protocol.runs import CancelRunParams, RunState, RunStatus
from stepflow_runtime.app.cli.boundary import CliError
from stepflow_runtime.app.cli.submission import Submission, submit
from stepflow_runtime.app.cli.watch import follow_run

CANCEL_GRACE_MS: Final = 2000

ANSWER_S: Final = 0.5
"""How long an interruption waits to hear whether there is a run already."""


class AttendedRun:
    """A run that is submitted and followed.

    Args:
        link: To the runtime that executes it.
        submission: What it is to do.
        cancels: Whether it is cancelled if this process is interrupted.

    Attributes:
        run_id: Empty until it is submitted.
        interrupted: Whether it was cancelled so.
    """

    def __init__(self, link: Link, submission: Submission, *, cancels: bool) -> None:
        self.run_id = ""
        self.interrupted = False
        self._cancels = cancels
        self._link = link
        self._submission = submission
        self._created = trio.Event()
        self._feeding = trio.CancelScope()

    async def run(self, on_status: Callable[[RunStatus], None] | None = None) -> RunStatus:
        """Submits the run and waits for its end.

        Args:
            on_status: Told how far it has got.

        Returns:
            Its last status.

        Raises:
            CliError: An input cannot be read; what there was of the run is cancelled.
            RpcError: The runtime refuses the run.
            KeyboardInterrupt: Before there was a run, or for the second time.
        """
        async with trio.open_nursery() as nursery:
            if self._cancels:
                nursery.start_soon(self._heed_signals)
            nursery.start_soon(self.feed)
            await self._created.wait()
            status = await follow_run(self._link, self.run_id, on_status)
            nursery.cancel_scope.cancel()
        return status

    async def feed(self) -> None:
        """Submits the run with all of its inputs, without waiting for its end.

        Raises:
            CliError: An input cannot be read; what there was of the run is cancelled.
            RpcError: The runtime refuses the run.
        """
        with self._feeding:
            try:
                await submit(self._link, self._submission, self._note_created)
            except CliError:
                with trio.move_on_after(2 * CANCEL_GRACE_MS / 1000, shield=True):
                    await self._cancel("an input could not be read")
                raise
            except RpcError as error:
                if error.code != ErrorCode.CONFLICT or not await self._ends_early():
                    raise

    async def _heed_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                async for _ in signals:
                    if self.interrupted or not await self._has_begun():
                        raise KeyboardInterrupt
                    self.interrupted = True
                    print("Cancelling the run; press Ctrl-C again to stop at once.", file=sys.stderr, flush=True)
                    self._feeding.cancel()
                    nursery.start_soon(self._cancel, "interrupted")

    async def _has_begun(self) -> bool:
        """Whether there is a run; its items may be under way before we are told that there is."""
        with trio.move_on_after(ANSWER_S):
            await self._created.wait()
        return bool(self.run_id)

    def _note_created(self, status: RunStatus) -> None:
        self.run_id = status.run_id
        self._created.set()

    async def _cancel(self, reason: str) -> None:
        if self.run_id:
            await self._link.call(CANCEL_RUN, CancelRunParams(self.run_id, reason=reason, grace_ms=CANCEL_GRACE_MS))

    async def _ends_early(self) -> bool:
        """Whether the run takes no more inputs because it was given up, as under a failure policy."""
        if not self.run_id:
            return False
        status = await follow_run(self._link, self.run_id)
        return status.status is not RunState.SUCCESS
