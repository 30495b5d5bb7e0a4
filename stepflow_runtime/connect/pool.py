"""The queue before a plugin's servers: who is sent next, and where to.

Free slots are filled round-robin over root runs, items under way first; calls go to the least loaded server. Parked
executions hold no slot, so nested runs never block each other, at any limit; an ended wait takes its slot back at once,
over the limit if need be. Nothing per call touches trio: only waiting for a server that is not there arms a timer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain
from math import inf
from typing import Final, NoReturn

import trio

from protocol.errors import ItemErrorCode, LinkClosed
from protocol.peer import Answer
from stepflow_runtime.connect.answers import INTERRUPTED, AnswerQueue
from stepflow_runtime.connect.server import Server
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import Failure
from stepflow_runtime.ports import Execution

MAX_QUEUED_BYTES: Final = 16 * 1024 * 1024
"""Nothing new goes to a server that has so much unsent (PROTOCOL §7)."""

ALONE_S: Final = 30.0
"""For so long an execution that goes alone keeps others away, before and after it is sent; a component may be polling
for a run that needs this very server."""

_Queued = tuple[Execution, str]


class _RootQueue:
    """What waits of one tree of runs: items that are under way before those that begin, each in order."""

    __slots__ = ("_beginning", "_under_way")

    def __init__(self) -> None:
        self._under_way: deque[_Queued] = deque()
        self._beginning: deque[_Queued] = deque()

    def __len__(self) -> int:
        return len(self._under_way) + len(self._beginning)

    def __iter__(self) -> Iterator[_Queued]:
        return chain(self._under_way, self._beginning)

    def append(self, execution: Execution, path: str) -> None:
        (self._beginning if execution.begins_item else self._under_way).append((execution, path))

    def popleft(self) -> _Queued:
        return (self._under_way or self._beginning).popleft()


class Pool:
    """The servers of one plugin and what waits for them; the place of an execution that is queued.

    Args:
        plugin: The plugin's name, for messages.
        answers: For executions that no server came for.
        unavailable_timeout_ms: How long an execution waits while no server is connected.

    Attributes:
        trouble: Why there is no server.
    """

    def __init__(self, plugin: str, answers: AnswerQueue, *, unavailable_timeout_ms: int = 300_000) -> None:
        self._plugin = plugin
        self._answers = answers
        self._unavailable_s = unavailable_timeout_ms / 1000
        self._servers: list[Server] = []
        self._queues: dict[RunId, _RootQueue] = {}
        self._turns: deque[_RootQueue] = deque()
        self._alone: deque[_Queued] = deque()
        self._reserved: Server | None = None
        self._unserved: deque[tuple[float, Execution]] = deque()
        self.trouble = Failure(ItemErrorCode.UNREACHABLE, "none has connected yet")
        self._holding = False
        self._alarm_at = inf
        self._alarm_changed = trio.Event()

    # --- executions --------------------------------------------------------------------------------------------------

    def call(self, execution: Execution, path: str) -> None:
        """Queues an execution; `flush` sends it."""
        execution.place = self
        if not self._servers:
            self._await_server(execution)
        if execution.alone:
            self._alone.append((execution, path))
            return
        queue = self._queues.get(execution.root_run_id)
        if queue is None:
            queue = self._queues[execution.root_run_id] = _RootQueue()
            self._turns.append(queue)
        queue.append(execution, path)

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
        """Executions in flight, less those that wait in a request."""
        return sum(server.load for server in self._servers)

    def flush(self) -> None:
        """Fills free slots and sends."""
        if self._alone and not self._holding:
            self._send_alone()
        turns = self._turns
        while turns and not self._holding:
            server = self._freest()
            if server is None:
                break
            queue = turns[0]
            execution, path = queue.popleft()
            if queue:
                turns.rotate(-1)
            else:
                turns.popleft()
                del self._queues[execution.root_run_id]
            if execution.place is self:
                self._send(server, execution, path)
        for server in self._servers:
            server.link.flush()

    # --- servers -----------------------------------------------------------------------------------------------------

    def add(self, server: Server) -> None:
        """A server is ready: it is sent what waits."""
        self._servers.append(server)
        self._unserved.clear()
        self.flush()

    def receive(self, server: Server, answers: list[Answer]) -> None:
        """The answers of one chunk: one turn of the engine, then the freed slots are filled."""
        server.receive(answers)
        self._answers.sink.end_turn()
        self.flush()

    def remove(self, server: Server) -> None:
        """A server is sent nothing more; what is in flight on it is its own matter."""
        if server not in self._servers:
            return
        self._servers.remove(server)
        if server is self._reserved:
            self._reserved = None
        if not self._servers:
            for execution, _ in chain(*self._turns, self._alone):
                if execution.place is self:
                    self._await_server(execution)

    async def run(self) -> NoReturn:
        """Ends waits that lasted too long, until it is cancelled."""
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
            if (
                load < server.slots
                and load < least
                and server is not self._reserved
                and self._shares(server)
                and server.link.queued_bytes < MAX_QUEUED_BYTES
            ):
                found, least = server, load
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
            self.remove(server)
            self.call(execution, path)
            return False

    def _reserve(self) -> Server | None:
        candidates = [server for server in self._servers if self._shares(server)]
        if not candidates:
            return None
        server = self._reserved = min(candidates, key=lambda server: server.load)
        server.alone_until = self._alarm_in(ALONE_S)
        return server

    # --- waiting for a server ----------------------------------------------------------------------------------------

    def _await_server(self, execution: Execution) -> None:
        self._unserved.append((self._alarm_in(self._unavailable_s), execution))

    def _alarm_in(self, seconds: float) -> float:
        at = trio.current_time() + seconds
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
            self._queues.clear()
            self._turns.clear()
            self._alone.clear()
        deadlines = [server.alone_until for server in self._servers if server.alone_until > now]
        self._alarm_at = min([*deadlines, self._unserved[0][0] if self._unserved else inf])

    def _no_server(self) -> Failure:
        return Failure(
            ItemErrorCode.UNREACHABLE,
            f'No server of the plugin "{self._plugin}" was there within {self._unavailable_s:g} s: '
            f"{self.trouble.message}.",
            self.trouble.data,
        )
