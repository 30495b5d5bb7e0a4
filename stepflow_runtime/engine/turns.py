"""Items that may have taken the runtime down go one at a time: who waits for their turn, and who has it."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count

from stepflow_runtime.engine.active_run import ActiveRun
from stepflow_runtime.engine.revival import begin_turn


class Turns:
    """The turns of one executor. Items of sub-runs come before those that wait for them; then, who is least suspect."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, int, ActiveRun, int]] = []
        self._order = count()
        self._current: tuple[ActiveRun, int] | None = None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, run: ActiveRun, index: int, stops: int) -> None:
        heappush(self._waiting, (-run.spec.depth, stops, next(self._order), run, index))

    def give(self, now_ms: int) -> ActiveRun | None:
        """Gives the turn to the next one if nobody has it; returns the run in which something goes again."""
        while self._waiting and not self._is_taken():
            _, _, _, run, index = heappop(self._waiting)
            if begin_turn(run.state, index, now_ms):
                self._current = run, index
                return run
        return None

    def _is_taken(self) -> bool:
        """Whether the one whose turn it is is still suspect, and at work: not waiting in a request to the runtime."""
        if self._current is None:
            return False
        run, index = self._current
        item = run.state.facts.live.get(index)
        if item is None or not item.stops:
            return False
        executions = [item.steps[step].execution for step in item.at_work]
        return any(execution is None or not execution.waiting for execution in executions)
