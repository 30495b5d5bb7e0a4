"""What servers have answered and nobody has handled yet, so that a big run does not keep small ones waiting.

One chunk may hold a thousand answers of one run, and the turn of the engine that they make takes as long as ten commits
of small runs beside it. While several trees of runs are served, answers are therefore handled in slices: trees take
turns, and between two slices everybody else does what can be done. A tree that is alone has all the answers of a chunk
in one turn, which costs less. Nothing per answer touches trio.

It knows neither the engine nor what an answer says: `pool`, above, handles a slice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Final, NoReturn

import trio

from protocol.peer import Answer
from stepflow_runtime.connect.in_flight import BatchInFlight
from stepflow_runtime.connect.server import Server
from stepflow_runtime.model.ids import RunId

SLICE: Final = 64
"""Items that make one turn while other trees wait for theirs: about a millisecond."""

CROWD_S: Final = 1.0
"""Trees that took turns are expected to do so again for so long."""

PASSES: Final = 6
"""For so many passes of the scheduler others go on between two slices: from a request to its commit, or from there to
the answer. A pass in which nobody does anything takes microseconds."""


class Inbox:
    """A queue for each tree of runs on each server; they take turns."""

    def __init__(self, handle: Callable[[Server, Sequence[Answer]], None]) -> None:
        self._handle = handle
        self._queues: dict[tuple[Server, RunId], deque[Answer]] = {}
        self._filled = trio.Event()
        self._last_roots: deque[RunId] = deque(maxlen=2)
        self._crowded_until = -inf

    def put(self, server: Server, answers: Sequence[Answer]) -> None:
        """Takes the answers of one chunk; they are handled at once if that keeps nobody waiting."""
        self._note(dict.fromkeys([answer.token.root_run_id for answer in answers]))
        is_short = len(answers) <= SLICE or trio.current_time() >= self._crowded_until
        if is_short and not self._queues:
            self._handle(server, answers)
            return
        for answer in answers:
            self._queues.setdefault((server, answer.token.root_run_id), deque()).append(answer)
        self._filled.set()

    async def run(self) -> NoReturn:
        """Handles what waits until it is cancelled."""
        while True:
            await self._filled.wait()
            self._filled = trio.Event()
            while self._queues:
                self._handle_slice()
                for _ in range(PASSES):
                    await trio.lowlevel.checkpoint()

    def empty(self, server: Server) -> None:
        """Handles at once all that waits of a server."""
        for key in [key for key in self._queues if key[0] is server]:
            self._handle(server, self._queues.pop(key))

    def _note(self, roots: dict[RunId, None]) -> None:
        """Notices whether trees take turns: one that comes after another is no crowd, until the first is back."""
        last = self._last_roots
        if len(roots) == 1 and last and last[-1] in roots:
            return
        if len(roots) > 1 or any(root in last for root in roots):
            self._crowded_until = trio.current_time() + CROWD_S
        last.extend(roots)

    def _handle_slice(self) -> None:
        (server, root), queue = next(iter(self._queues.items()))
        del self._queues[server, root]
        taken: list[Answer] = []
        items = 0
        while queue and items < SLICE:
            answer = queue.popleft()
            items += len(answer.token.executions) if type(answer.token) is BatchInFlight else 1
            taken.append(answer)
        if queue:
            self._queues[server, root] = queue  # behind the others
        self._handle(server, taken)
