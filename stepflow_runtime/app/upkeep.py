"""What a runtime that serves removes by itself, if it is told to: runs that ended long ago, and unreachable blobs.

One run, or a hundred blobs, is one job of the writer among the others; nothing waits for all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import trio

from protocol.errors import ErrorCode, RpcError
from protocol.log import Logger
from protocol.runs import RunParams
from stepflow_runtime.app.config import Retention
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import Clock, RunFilter, Store, StoreCorrupt, StoreUnavailable
from stepflow_runtime.services.runs import RunService
from stepflow_runtime.store.collecting import Collector

log = Logger(__name__)

PAGE: Final = 200
FIRST_AFTER_S: Final = 60.0
"""A runtime that starts has other things to do."""


class Upkeep:
    """Carries out a retention.

    Args:
        retention: What goes when.
        store: Where the runs are.
        collector: Removes blobs; `None` if nothing is kept for good.
        runs: Deletes runs.
        clock: Tells how old they are.
        spare: Blobs that are in use though no run names them: flows that are ready to run.
    """

    def __init__(
        self,
        retention: Retention,
        store: Store,
        collector: Collector | None,
        runs: RunService,
        clock: Clock,
        spare: Callable[[], Iterable[BlobId]],
    ) -> None:
        self._retention = retention
        self._store = store
        self._collector = collector
        self._runs = runs
        self._clock = clock
        self._spare = spare

    async def run(self) -> None:
        """Goes on until it is cancelled. What cannot be done now is tried again the next time."""
        retention = self._retention
        if retention.ended_runs_ms is None and (retention.unused_blobs_ms is None or self._collector is None):
            return
        interval_s = retention.interval_ms / 1000
        await trio.sleep(min(FIRST_AFTER_S, interval_s))
        while True:
            try:
                await self.tidy()
            except (StoreUnavailable, StoreCorrupt) as error:
                log.warning("upkeep could not be done now", reason=str(error))
            await trio.sleep(interval_s)

    async def tidy(self) -> None:
        """Removes what is due now.

        Raises:
            StoreUnavailable: The medium refused.
            StoreCorrupt: The database is damaged.
        """
        runs = blobs = 0
        if self._retention.ended_runs_ms is not None:
            runs = await self._delete_runs(self._clock.wall_ms() - self._retention.ended_runs_ms)
        if self._retention.unused_blobs_ms is not None and self._collector is not None:
            blobs = await self._collector.collect(self._retention.unused_blobs_ms // 1000, self._spare)
        if runs or blobs:
            log.info("old things are removed", runs=runs, blobs=blobs)

    async def _delete_runs(self, before_ms: int) -> int:
        deleted, last = 0, None
        while page := await self._store.runs(RunFilter(created_before_ms=before_ms), last, PAGE):
            for record in page:
                progress = record.progress
                has_ended = progress.status in TERMINAL_RUN_STATES and (progress.completed_at_ms or 0) < before_ms
                if has_ended and record.spec.parent is None:
                    deleted += await self._delete(record.spec.run_id)
            last = page[-1].spec.run_id
            await trio.lowlevel.checkpoint()
        return deleted

    async def _delete(self, run_id: RunId) -> bool:
        try:
            await self._runs.delete(RunParams(run_id), _NOBODY)
        except RpcError as error:
            if error.code not in (ErrorCode.CONFLICT, ErrorCode.RUN_NOT_FOUND):  # something of it goes on, or is needed
                raise StoreUnavailable(error.message) from error
            return False
        return True


_NOBODY: Final = Connection("upkeep")
