"""When and where a transaction runs: one thread takes all that waits, or, when nothing else waits, the caller itself.

Two hops between threads cost as much as an fsync, so a small job that is alone on a fast disk is written inline. A job
that comes while others are under way queues up, and the thread takes everything that waits, writes it once and wakes
all waiters with one hop. There is no window in which a group is gathered: it is what came during the commit before.

The transactor and its connection are used by the thread while jobs are under way, and inline only while none is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

import trio

from protocol.errand import in_task
from stepflow_runtime.ports import StoreUnavailable
from stepflow_runtime.store.checkpoint import Checkpointer
from stepflow_runtime.store.jobs import Job
from stepflow_runtime.store.transaction import Transactor

MAX_GROUP_JOBS: Final = 1024
MAX_GROUP_WEIGHT: Final = 50_000
"""Bounds of one transaction: what waits beyond it goes into the next."""

MAX_INLINE_WEIGHT: Final = 64
"""A job of more events would keep the trio thread from its work for longer than the hops cost."""

MAX_INLINE_S: Final = 0.002
"""On a slower disk than that, nothing is written inline."""

_MEMORY: Final = 0.2
"""Weight of the last duration in the moving average."""


class Writer:
    """Takes jobs on the trio thread and has them written. Closed by `close`."""

    def __init__(
        self,
        transactor: Transactor,
        checkpointer: Checkpointer,
        done: Callable[[Job], None],
        *,
        inline_only: bool = False,
    ) -> None:
        self._transactor = transactor
        self._checkpointer = checkpointer
        self._done = done
        self._inline_only = inline_only
        self._token = trio.lowlevel.current_trio_token()
        self._gathering: list[Job] = []
        self._under_way = 0
        self._duration_s = 0.0
        self._closed = False
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self.transactions = 0
        self._thread = threading.Thread(target=self._serve, name="store-writer", daemon=True)
        if not inline_only:
            self._thread.start()

    async def write(self, job: Job) -> None:
        """Has a job written, and returns when that is durable.

        Raises:
            StoreUnavailable: The medium refused, or the store was closed.

        Cancellation: the job is written nevertheless.
        """
        if self._closed:
            raise StoreUnavailable("The store is closed; nothing more can be written.")
        if self._inline_only:
            self._write_inline(job)
        elif self._under_way:
            self._enqueue(job)
            await job.written
        elif self._gathering:
            self._gathering.append(job)
            await job.written
        else:
            await self._gather(job)
        if job.error is not None:
            raise job.error

    async def _gather(self, job: Job) -> None:
        """Lets all that is about to write in this turn join, and writes inline if nothing did."""
        await in_task()
        self._gathering.append(job)
        await trio.lowlevel.cancel_shielded_checkpoint()
        gathered, self._gathering = self._gathering, []
        if len(gathered) == 1 and job.weight <= MAX_INLINE_WEIGHT and self._duration_s < MAX_INLINE_S:
            self._write_inline(job)
            return
        for other in gathered:
            self._enqueue(other)
        await job.written

    def _write_inline(self, job: Job) -> None:
        self._transact([job])
        self._done(job)
        self._checkpointer.follow_commit()

    def _enqueue(self, job: Job) -> None:
        self._under_way += 1
        self._queue.put(job)

    def _transact(self, group: Sequence[Job]) -> None:
        began = time.perf_counter()
        self._transactor.write(group)
        self.transactions += 1
        if len(group) == 1 and group[0].weight <= MAX_INLINE_WEIGHT:
            self._duration_s += _MEMORY * (time.perf_counter() - began - self._duration_s)

    # --- the thread ---

    def _serve(self) -> None:
        queue = self._queue
        while True:
            job = queue.get()
            group: list[Job] = []
            weight = 0
            while job is not None:
                group.append(job)
                weight += job.weight
                if len(group) == MAX_GROUP_JOBS or weight >= MAX_GROUP_WEIGHT:
                    break
                try:
                    job = queue.get_nowait()
                except Empty:
                    break
            if group:
                self._transact(group)
                self._report(group)
                self._checkpointer.follow_commit()
            if job is None:
                return

    def _report(self, group: list[Job]) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._finish, group)

    def _finish(self, group: list[Job]) -> None:
        self._under_way -= len(group)
        for job in group:
            self._done(job)
            job.written.complete(None)

    # --- the end ---

    async def close(self) -> None:
        """Takes no more jobs, and returns when those under way are written and the thread has ended.

        Cancellation: shielded; bounded by what is under way.
        """
        with trio.CancelScope(shield=True):
            while self._gathering:
                await trio.lowlevel.checkpoint()
            self._closed = True
            if not self._inline_only:
                self._queue.put(None)
                await trio.to_thread.run_sync(self._thread.join)
