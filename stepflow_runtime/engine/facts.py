"""What the journal of a run says: the fold of its events. Pure, and free of any decision.

Nothing but `folds`, above, changes it. What is kept is O(in flight): items that have ended leave only their counts, and
an entry of a result chunk. A `snapshot` carries it over a restart; the journal's tail is folded on top.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from protocol.runs import RunState as RunStatus
from stepflow_runtime.engine.fork import clip, holds
from stepflow_runtime.engine.items import ItemRecord
from stepflow_runtime.engine.results import ResultIndex
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import ResultChunk, RunProgress


class Resumption(Struct, frozen=True, array_like=True):
    """A suspension that somebody ended."""

    item: int
    step: str
    label: str
    request_id: str | None = None
    token: str | None = None


MAX_REMEMBERED: Final = 1000
"""So many of its last resumptions and restarts a run remembers: who repeats a request is told what became of it."""


class RunFacts:
    """The fold of one run's journal up to `seq`.

    Attributes:
        live: The items that hold a slot, by index.
        queued: Those that were resumed and wait for a slot, in this order.
        has_suspended: Whether any step ever waited to be resumed.
        awake_through: Items that were parked before this sequence number sleep no more.
        resumptions: The last ones, the latest last.
        restarts: The last requests to have active steps go again: what was asked for, by their ids.
        next_item: The first item that has not started; all below it have, or have ended.
        skipped: Items above `next_item` that ended without a start.
        recoveries: `started_through` at each recovery.
        stopped: Why what was left was cancelled without a request.
        forked: Which items go again, if another run goes on as this one; the others have ended.
    """

    __slots__ = (
        "awake_through",
        "cancelled_by_request",
        "forked",
        "has_suspended",
        "live",
        "next_item",
        "progress",
        "queued",
        "recoveries",
        "restarts",
        "results",
        "resumptions",
        "seq",
        "skipped",
        "spec",
        "stopped",
    )

    def __init__(self) -> None:
        self.spec: RunSpec | None = None
        self.progress = RunProgress()
        self.seq = 0
        self.next_item = 0
        self.live: dict[int, ItemRecord] = {}
        self.results = ResultIndex()
        self.skipped: set[int] = set()
        self.recoveries: list[int] = []
        self.stopped: str | None = None
        self.cancelled_by_request = False
        self.queued: dict[int, ItemRecord] = {}
        self.awake_through = 0
        self.has_suspended = False
        self.resumptions: deque[Resumption] = deque(maxlen=MAX_REMEMBERED)
        self.restarts: dict[str, str] = {}
        self.forked: ev.RunForked | None = None

    def find(self, index: int) -> ItemRecord | None:
        """An item that is in memory: it is live, or waits for a slot."""
        return self.live.get(index) or self.queued.get(index)

    def is_open(self, index: int) -> bool:
        """Whether an item has begun and has not ended."""
        return index in self.live or index in self.queued or self.results.find_parked(index) > 0

    @property
    def is_suspended(self) -> bool:
        """Whether nothing goes on until something is resumed."""
        progress = self.progress
        return (
            progress.suspended > 0
            and progress.suspended + progress.completions == progress.total
            and progress.status is RunStatus.RUNNING
        )

    @property
    def is_quiet(self) -> bool:
        """Whether no item that has begun holds a slot, or waits for one."""
        return not self.live and not self.queued

    @property
    def is_terminal(self) -> bool:
        return self.progress.status in TERMINAL_RUN_STATES

    def attempt_of_start(self, index: int) -> int:
        """The attempt number with which an item's first steps begin: items in a lost window may have begun before."""
        return 1 + sum(through > index for through in self.recoveries)

    def is_to_begin(self, index: int) -> bool:
        """Whether an item from `next_item` on has not ended, be it in the run that this one was forked from."""
        return index not in self.skipped and (self.forked is None or holds(self.forked.travelling, index))

    def find_pending(self, first: int, end: int) -> Iterable[tuple[int, int]]:
        """Stretches, with both ends, of the items from `first` on and before `end` that are to begin in this run."""
        if self.forked is None:
            return [(first, end - 1)] if first < end else []
        return clip(self.forked.travelling, first, end - 1)

    def stamp(self, at_ms: int) -> None:
        """Tells when the events folded since the last call were committed, or are about to be."""
        progress = self.progress
        progress.seq = self.seq
        progress.updated_at_ms = at_ms
        progress.running = len(self.live)
        if progress.started_at_ms is None and progress.status is not RunStatus.PENDING:
            progress.started_at_ms = at_ms
        if progress.completed_at_ms is None and self.is_terminal:
            progress.completed_at_ms = at_ms

    def restore_results(self, chunks: Iterable[ResultChunk]) -> None:
        """Takes back the open result chunks as the store has them, which is as of the journal's end."""
        self.results = ResultIndex()
        self.results.restore(chunks)
