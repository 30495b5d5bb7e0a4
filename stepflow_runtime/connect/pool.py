"""The queue before a plugin's servers: who is sent next, and where to.

Free slots are filled round-robin over root runs, items under way first; calls go to the least loaded server. Parked
executions hold no slot, so nested runs never block each other, at any limit; an ended wait takes its slot back at once,
over the limit if need be. Nothing per call touches trio: only waiting for a server that is not there arms a timer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from math import inf
from typing import Final, NoReturn

import trio
from msgspec import UNSET

from protocol.errors import ItemErrorCode, LinkClosed
from protocol.peer import Answer
from stepflow_runtime.connect.answers import INTERRUPTED, AnswerQueue
from stepflow_runtime.connect.batch import Batch, Batches
from stepflow_runtime.connect.inbox import Inbox
from stepflow_runtime.connect.queue import FairQueue
from stepflow_runtime.connect.server import Server
from stepflow_runtime.model.outcome import UNAVAILABLE, Failure
from stepflow_runtime.ports import Execution

ALONE_S: Final = 30.0
"""For so long an execution that goes alone keeps others away, before and after it is sent; a component may be polling
for a run that needs this very server."""


class Pool:
    """The servers of one plugin and what waits for them; the place of an execution that is queued.

    Args:
        plugin: The plugin's name, for messages.
        answers: For executions that no server came for.
        unavailable_timeout_ms: How long an execution waits while no server is connected.

    Attributes:
        trouble: Why there is no server.
        answered: How many requests servers have answered.
    """

    def __init__(self, plugin: str, answers: AnswerQueue, *, unavailable_timeout_ms: int = 300_000) -> None:
        self._plugin = plugin
        self._answers = answers
        self._unavailable_s = unavailable_timeout_ms / 1000
        self._servers: list[Server] = []
        self._queue = FairQueue()
        self._batches = Batches()
        self._alone: deque[tuple[Execution, str]] = deque()
        self._reserved: Server | None = None
        self._unserved: deque[tuple[float, Execution]] = deque()
        self.trouble = Failure(ItemErrorCode.UNREACHABLE, "none has connected yet")
        self.answered = 0
        self._holding = False
        self._alarm_at = inf
        self._alarm_changed = trio.Event()
        self._inbox = Inbox(self._handle)

    # --- executions --------------------------------------------------------------------------------------------------

    def call(self, execution: Execution, path: str) -> None:
        """Queues an execution; `flush` sends it."""
        execution.place = self
        if not self._servers:
            self._await_server(execution)
        if execution.alone:
            self._alone.append((execution, path))
        elif (info := self._batches.declared.get(path)) is None or execution.resumes:
            self._queue.append(execution, path)
        elif (full := self._batches.join(execution, path, info, trio.current_time)) is not None:
            self._queue.append(full, path)

    def cancel(self, execution: Execution) -> None:
        """It stays in its queue until its turn, and is passed over then."""
        execution.place = None

    def interrupt(self, execution: Execution) -> None:
        self._answers.put(execution, INTERRUPTED)

    def park(self, execution: Execution) -> None:
        """What is queued makes no requests."""

    def unpark(self, execution: Execution) -> None:
        """See `park`."""

    def hold(self) -> None:
        """Sends no execution any more; see `Plugin.hold`."""
        self._holding = True

    @property
    def load(self) -> int:
        """Executions in flight, less those that wait in a request; of a server where nobody wants any of them, none."""
        return sum(server.load for server in self._servers if server.connection.executions)

    @property
    def queued(self) -> int:
        """Executions that wait for a server, or for a slot there."""
        return sum(1 for _ in self._waiting())

    def flush(self) -> None:
        """Fills free slots and sends."""
        if self._alone and not self._holding:
            self._send_alone()
        if self._batches:
            self._queue_due()
        queue = self._queue
        while queue and not self._holding:
            server = self._freest()
            if server is None:
                break
            what, path = queue.popleft()
            if isinstance(what, Batch):
                self._send_batch(server, what)
            elif what.place is self:
                self._send(server, what, path)
        for server in self._servers:
            server.flush()

    # --- servers -----------------------------------------------------------------------------------------------------

    def add(self, server: Server) -> None:
        """A server is ready: it is sent what waits."""
        self._servers.append(server)
        self._unserved.clear()
        self._batches.declare([server.batches for server in self._servers])
        if server.batches:
            self._queue_again()
        self.flush()

    def receive(self, server: Server, answers: Sequence[Answer]) -> None:
        """The answers of one chunk."""
        if answers[0].lost:
            return  # they all are; `Server.end` reports them, with the cause
        self.answered += len(answers)
        if server in self._servers:
            self._inbox.put(server, answers)
        else:
            self._handle(server, answers)

    def remove(self, server: Server) -> None:
        """What a server has answered is handled, and it is sent nothing more; what is in flight is its own matter."""
        self._drop(server)
        self._inbox.empty(server)

    def _handle(self, server: Server, answers: Sequence[Answer]) -> None:
        """Answers make one turn of the engine; then the freed slots are filled."""
        server.receive(answers)
        if server.link.fault is not None:
            self._drop(server)
        self._answers.sink.end_turn()
        self.flush()

    def _drop(self, server: Server) -> None:
        if server not in self._servers:
            return
        self._servers.remove(server)
        if server is self._reserved:
            self._reserved = None
        if not self._servers:
            for execution in self._waiting():
                self._await_server(execution)

    @property
    def some_server(self) -> Server | None:
        """One that can be asked about what all of them have in common."""
        return self._servers[0] if self._servers else None

    async def run(self) -> NoReturn:
        """Handles what is answered, and ends waits that lasted too long, until it is cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._inbox.run)
            nursery.start_soon(self._watch_alarm)
            await trio.sleep_forever()

    async def _watch_alarm(self) -> NoReturn:
        while True:
            with trio.move_on_at(self._alarm_at):
                await self._alarm_changed.wait()
            self._alarm_changed = trio.Event()
            if trio.current_time() >= self._alarm_at:
                self._expire()
                self.flush()

    # --- choosing ----------------------------------------------------------------------------------------------------

    def _freest(self) -> Server | None:
        """The least loaded server that may be sent something now."""
        found, least = None, inf
        for server in self._servers:
            load = server.load
            is_free = load < server.slots and load < least and server is not self._reserved
            if is_free and (server.alone is None or self._shares(server)):
                if server.link.queued_bytes < server.link.full_bytes:
                    found, least = server, load
                else:
                    server.link.call_when_room(self.flush)
        return found

    def _shares(self, server: Server) -> bool:
        """Whether a server may be sent more: what it executes alone, if it does, waits, or lasts for long."""
        return server.alone is None or server.alone.waiting > 0 or trio.current_time() >= server.alone_until

    def _send_alone(self) -> None:
        """Sends what goes alone to an idle server; if there is none, one is reserved, so that it becomes idle."""
        while self._alone:
            execution, path = self._alone[0]
            if execution.place is not self:
                self._alone.popleft()
                self._reserved = None
                continue
            server = self._reserved
            if server is None:
                server = self._reserve()
            if server is None or (server.load and trio.current_time() < server.alone_until):
                return
            self._alone.popleft()
            self._reserved = None
            if self._send(server, execution, path):
                server.alone = execution
                server.alone_until = self._alarm_in(ALONE_S)

    def _send(self, server: Server, execution: Execution, path: str) -> bool:
        try:
            return server.send(execution, path)
        except LinkClosed:
            self._drop(server)
            self.call(execution, path)
            return False

    def _send_batch(self, server: Server, batch: Batch) -> None:
        """Sends of a batch what this server takes at once; the rest stays the first of its queue."""
        self._batches.close(batch)
        batch.calls = [execution for execution in batch.calls if execution.place is self]
        try:
            del batch.calls[: server.send_batch(batch.calls, batch.path)]
        except LinkClosed:
            self._drop(server)
            for execution in batch.calls:
                self.call(execution, batch.path)
        else:
            if batch.calls:
                self._queue.appendleft(batch, batch.path)

    def _reserve(self) -> Server | None:
        candidates = [server for server in self._servers if self._shares(server)]
        if not candidates:
            return None
        server = self._reserved = min(candidates, key=lambda server: server.load)
        server.alone_until = self._alarm_in(ALONE_S)
        return server

    # --- batches -----------------------------------------------------------------------------------------------------

    def _queue_due(self) -> None:
        """Lets the batches go that nobody else can join, or that waited long enough."""
        has_others = self._answers.sink.has_others
        for batch in self._batches.take_due(trio.current_time(), has_others):
            self._queue.append(batch, batch.path)
        if self._batches:
            self._alarm_by(self._batches.next_due_at())

    def _queue_again(self) -> None:
        """What came before its server said that it takes batches goes in batches, too."""
        waiting = list(self._queue)
        self._queue.clear()
        for what, path in waiting:
            for execution in what.calls if isinstance(what, Batch) else [what]:
                if execution.place is self:
                    self.call(execution, path)

    def _waiting(self) -> Iterator[Execution]:
        """All that waits to be sent."""
        for what in (*(what for what, _ in self._queue), *self._batches, *(what for what, _ in self._alone)):
            for execution in what.calls if isinstance(what, Batch) else [what]:
                if execution.place is self:
                    yield execution

    # --- waiting for a server ----------------------------------------------------------------------------------------

    def _await_server(self, execution: Execution) -> None:
        self._unserved.append((self._alarm_in(self._unavailable_s), execution))

    def _alarm_in(self, seconds: float) -> float:
        return self._alarm_by(trio.current_time() + seconds)

    def _alarm_by(self, at: float) -> float:
        if at < self._alarm_at:
            self._alarm_at = at
            self._alarm_changed.set()
        return at

    def _expire(self) -> None:
        now = trio.current_time()
        while self._unserved and self._unserved[0][0] <= now:
            _, execution = self._unserved.popleft()
            if execution.place is self:
                self._answers.put(execution, self._no_server())
        if not self._servers and not self._unserved:
            self._queue.clear()
            self._batches.clear()
            self._alone.clear()
        deadlines = [server.alone_until for server in self._servers if server.alone_until > now]
        self._alarm_at = min([*deadlines, self._unserved[0][0] if self._unserved else inf])

    def _no_server(self) -> Failure:
        return Failure(
            ItemErrorCode.UNREACHABLE,
            f'No server of the plugin "{self._plugin}" was there within {self._unavailable_s:g} s: '
            f"{self.trouble.message}.",
            {
                **({} if self.trouble.data is UNSET else self.trouble.data),
                "limit": UNAVAILABLE,
                "value": round(self._unavailable_s * 1000),
            },
        )
