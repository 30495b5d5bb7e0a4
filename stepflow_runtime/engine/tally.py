"""What has been committed since this process began, in numbers; and how long that took.

It is told of each run's part of a commit, never of an item: what the part did to the run's projection says it all. So a
number here is of what is durable, and counting costs a million items nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from protocol.runs import RunState
from stepflow_runtime.model.events import RetryCause, RunForked
from stepflow_runtime.model.metric import Histogram
from stepflow_runtime.ports import RunProgress, RunWrite

COMMIT_BOUNDS_S: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
RUN_BOUNDS_S: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 14_400, 86_400, 604_800)

_INHERITED: Final = 2
"""`RunForked` is among so many first events of a run."""


class Tally:
    """Counts for one executor.

    Attributes:
        created: Runs that began to exist.
        ended: Runs that ended, by how.
        items: Items that ended, by how. What a fork took over from another run ended there.
        retries: Attempts after the first, by why there was one.
        events: Events that were written to journals.
        commits: How long commits took that succeeded, in seconds.
        failed_commits: Those that the store refused; they are made again.
        runs: From the creation of runs to their end, in seconds.
    """

    def __init__(self) -> None:
        self.created = 0
        self.ended: Counter[RunState] = Counter()
        self.items: Counter[RunState] = Counter()
        self.retries: Counter[RetryCause] = Counter()
        self.events = 0
        self.commits = Histogram(COMMIT_BOUNDS_S)
        self.failed_commits = 0
        self.runs = Histogram(RUN_BOUNDS_S)

    def note(self, before: RunProgress, write: RunWrite, created_at_ms: int) -> None:
        """A run's part of a commit is durable.

        Args:
            before: How the run stood until then.
            created_at_ms: Since when the run exists.
        """
        after, items = write.progress, self.items
        self.events += len(write.events)
        if after.completions != before.completions:
            items[RunState.SUCCESS] += after.success - before.success
            items[RunState.FAILED] += after.failed - before.failed
            items[RunState.CANCELLED] += after.cancelled - before.cancelled
        if not write.expected_seq:
            self._note_created(write)
        if after.completed_at_ms is not None and before.completed_at_ms is None:
            self.ended[after.status] += 1
            self.runs.observe((after.completed_at_ms - created_at_ms) / 1000)

    def _note_created(self, write: RunWrite) -> None:
        self.created += 1
        for event in write.events[:_INHERITED]:
            if type(event) is RunForked:
                self.items[RunState.SUCCESS] -= event.success
                self.items[RunState.FAILED] -= event.failed
                self.items[RunState.CANCELLED] -= event.cancelled
