"""Tasks that drain a queue of requests, as many as there are requests that wait at once.

A worker takes requests in a plain loop, so those that never await cost no switch of tasks. Before each, it wakes
another worker if more requests wait, but has at most two on their way: if the request awaits, they go on, and wake
more; if not, they find nothing to do. The number of workers is not bounded: the runtime bounds what it sends, and what
waits for a sub-run does not count there (PROTOCOL §4), so a bound here could be a deadlock.

Knows nothing of components; `serve` is above.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final

import trio

from component_sdk.backlog import Backlog
from protocol.messages import RequestId
from protocol.peer import RequestReceived

MAX_WAKING: Final = 2
FLUSH_ANSWERS: Final = 64
FLUSH_S: Final = 0.001
TURN_S: Final = 0.001
"""How long requests that never await may keep other tasks waiting."""


class _Worker:
    """One task: where it is."""

    __slots__ = ("is_cancelled", "request", "scope", "task")

    def __init__(self) -> None:
        self.task: trio.lowlevel.Task | None = None
        self.scope = trio.CancelScope()
        self.request: RequestReceived | None = None
        self.is_cancelled = False
        """As `scope.cancel_called`, which asks for the time."""


class Workers:
    """A queue of requests and the tasks that drain it.

    Args:
        execute: Handles a request and answers it, also if it fails. It may raise only `trio.Cancelled`, and groups in
            which one is.
        cancelled: Answers a request that was cancelled.
        flush: Sends the answers that are queued.

    Cancellation:
        Of `run`: all that is executed is cancelled and not answered.
    """

    def __init__(
        self,
        execute: Callable[[RequestReceived], Awaitable[None]],
        cancelled: Callable[[RequestReceived], None],
        flush: Callable[[], None],
    ) -> None:
        self._execute = execute
        self._cancelled = cancelled
        self._flush = flush
        self._queue = Backlog()
        self._idle: list[_Worker] = []
        self._waking = 0
        self._running: dict[RequestId, _Worker] = {}
        self._answers = 0
        self._flushed_at = 0.0
        self._turn_at = 0.0
        self._is_yielding = False
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    def put(self, request: RequestReceived) -> None:
        """Queue a request; `wake` follows when no more come for now."""
        self._queue.append(request)

    def wake(self) -> None:
        """See that somebody drains the queue. It is another task's turn, or this would not be called."""
        if self._queue:
            self._turn_at = perf_counter()
            if self._waking < MAX_WAKING:
                self._wake_one()

    def cancel(self, id: RequestId) -> None:
        """Cancel a request; one that has not begun is answered at once."""
        worker = self._running.get(id)
        if worker is not None:
            worker.is_cancelled = True
            worker.scope.cancel()
            return
        for request in self._queue.remove(id):
            self._cancelled(request)

    def _wake_one(self) -> None:
        self._waking += 1
        if self._idle:
            task = self._idle.pop().task
            assert task is not None
            trio.lowlevel.reschedule(task)
        else:
            assert self._nursery is not None
            self._nursery.start_soon(self._work)

    async def _work(self) -> None:
        worker = _Worker()
        worker.task = trio.lowlevel.current_task()
        self._waking -= 1
        while True:
            try:
                with trio.CancelScope() as worker.scope:
                    await self._drain(worker)
            except Exception:
                # What a cancelled component raised beside `Cancelled`: it was cancelled nevertheless.
                if not worker.is_cancelled:
                    raise
            worker.is_cancelled = False
            if (request := worker.request) is not None:
                self._end(worker, request)
                self._cancelled(request)

    async def _drain(self, worker: _Worker) -> None:
        """Execute requests, until one is cancelled: a scope is used up then."""
        queue, running = self._queue, self._running
        now = perf_counter()
        while not worker.is_cancelled:
            if not queue:
                if not running:
                    self._flush()
                await self._rest(worker)
                now = perf_counter()
                continue
            if now - self._turn_at > TURN_S:
                # One worker lets the other tasks run, and goes on; if all did, each would take a turn of its own.
                await (self._rest(worker) if self._is_yielding else self._yield())
                now = perf_counter()
                continue
            request = queue.popleft()
            if queue and self._waking < MAX_WAKING:
                self._wake_one()
            worker.request = request
            running[request.id] = worker
            await self._execute(request)
            self._end(worker, request)
            now = perf_counter()
            self._answers += 1
            if self._answers >= FLUSH_ANSWERS or now - self._flushed_at > FLUSH_S:
                self._flush()
                self._answers = 0
                self._flushed_at = now

    def _end(self, worker: _Worker, request: RequestReceived) -> None:
        worker.request = None
        if self._running.get(request.id) is worker:  # another one may have the same id
            del self._running[request.id]

    async def _rest(self, worker: _Worker) -> None:
        self._idle.append(worker)

        def leave(_: object) -> trio.lowlevel.Abort:
            self._idle.remove(worker)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)
        self._waking -= 1

    async def _yield(self) -> None:
        self._is_yielding = True
        try:
            self._flush()
            await trio.lowlevel.checkpoint()
        finally:
            self._is_yielding = False
        self._turn_at = perf_counter()
