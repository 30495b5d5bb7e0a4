"""How long components took: what the servers of a plugin answered, by component and by how it went.

Executions that were sent together, and answered together, have one time between them: it is counted for all of them at
once, so that a fast component costs the runtime no clock call an item. `server` is above.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from stepflow_runtime.model.metric import Histogram
from stepflow_runtime.model.outcome import Failure
from stepflow_runtime.ports import Answered

BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)

MAX_COMPONENTS: Final = 100
"""That are told apart; flows name them, so nobody else bounds them. The rest are `other` together."""

OTHER: Final = "other"
SUCCESS: Final = "success"
FAILED: Final = "failed"


class Durations:
    """Of the executions that the servers of one plugin have answered.

    Attributes:
        found: In seconds, by component and outcome.
    """

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], Histogram] = {}
        self._components: set[str] = set()

    def note_answers(self, answers: Sequence[Answered], now: float) -> None:
        """Executions were answered, at this time on the monotonic clock."""
        component, kind, sent_at, count = "", SUCCESS, now, 0
        for execution, outcome in answers:
            found = FAILED if type(outcome) is Failure else SUCCESS
            if execution.sent_at == sent_at and found is kind and execution.component is component:
                count += 1
                continue
            if count:
                self.note(component, kind, now - sent_at, count)
            component, kind, sent_at, count = execution.component, found, execution.sent_at, 1
        if count:
            self.note(component, kind, now - sent_at, count)

    def note(self, component: str, outcome: str, seconds: float, count: int = 1) -> None:
        """So many executions took so long.

        Args:
            component: As the flow calls it.
            outcome: `SUCCESS`, which a step that suspends is too, or `FAILED`.
        """
        histogram = self.found.get((component, outcome))
        if histogram is None:
            if component not in self._components and len(self._components) >= MAX_COMPONENTS:
                component = OTHER
            self._components.add(component)
            histogram = self.found.setdefault((component, outcome), Histogram(BOUNDS_S))
        histogram.observe(seconds, count)
