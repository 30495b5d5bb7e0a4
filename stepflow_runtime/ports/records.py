"""What is stored of runs, and how it is written: the records that cross `Store`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import Final

from msgspec import Struct

from protocol.runs import RunState
from stepflow_runtime.model.events import AnyEvent
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.ports.byproducts import Byproducts
from stepflow_runtime.ports.delivering import Delivery

SHARDS: Final = 256


class Lease(Struct, frozen=True):
    """The right to write the runs of a shard. On SQLite the epoch is a boot counter and there is one owner."""

    shard: int
    owner: str
    epoch: int


class RunProgress(Struct):
    """The projection of a run's journal that queries see; written with every commit.

    `completions` counts the items that ended. `running` are items that hold a slot; of those that hold none, and are
    not pending, `suspended` wait to be resumed, and `sleeping` go on by themselves. `no_action` are those of the
    successful ones of which no step took any action.
    """

    seq: int = 0
    status: RunState = RunState.PENDING
    total: int = 0
    sealed: bool = True
    running: int = 0
    success: int = 0
    failed: int = 0
    cancelled: int = 0
    started_through: int = 0
    cancel_requested: bool = False
    cancel_reason: str | None = None
    current_step: str | None = None
    started_at_ms: int | None = None
    updated_at_ms: int | None = None
    completed_at_ms: int | None = None
    no_action: int = 0
    suspended: int = 0
    sleeping: int = 0
    paused: bool = False

    @property
    def completions(self) -> int:
        return self.success + self.failed + self.cancelled

    @property
    def pending(self) -> int:
        """Items that wait for a slot: for their first, or for another one after they were resumed."""
        return self.total - self.running - self.suspended - self.sleeping - self.completions


class RunRecord(Struct, frozen=True):
    spec: RunSpec
    progress: RunProgress


class InputSegment(Struct, frozen=True, array_like=True):
    """Consecutive inputs as raw JSON values, joined by newlines."""

    first_index: int
    count: int
    data: bytes


SEGMENT_ITEMS: Final = 1000
"""At most so many inputs in a segment, and exactly so many items to a result chunk."""


class ItemRef(IntEnum):
    """The two low bits of an entry of a result chunk; the rest is the sequence number of the event that holds it."""

    OPEN = 0
    SUCCESS = 1
    FAILED = 2
    CANCELLED = 3


SLEEPS: Final = 1 << 63
"""Set in the entry of a parked item that goes on by itself."""


class ResultChunk(Struct, frozen=True, array_like=True):
    """Where the items `chunk * SEGMENT_ITEMS …` are to be found: little-endian 64-bit `seq << 2 | ItemRef`, up to the
    last that is not 0. The sequence number of one that is `OPEN` is that of the event that parked it."""

    chunk: int
    refs: bytes


class JournalRow(Struct, frozen=True):
    """The events of one commit. `completions_before` is how many items had ended before its first event."""

    first_seq: int
    last_seq: int
    at_ms: int
    completions_before: int
    events: bytes


class TreeRow(Struct, frozen=True):
    """A journal row of some run of a tree; `position` is its place among all rows of the tree, and only grows."""

    position: int
    run_id: RunId
    row: JournalRow


class Message(Struct, frozen=True):
    """An effect on other runs, delivered at least once after the commit that wrote it; `seq` is the sender's."""

    run_id: RunId
    seq: int
    kind: str
    body: bytes


class RunWrite(Struct, kw_only=True):
    """One run's part of a commit: its events and all that follows from them.

    Args:
        expected_seq: The last sequence number that the writer knows; another one is a `Conflict`.
        events: The first gets `expected_seq + 1`; there may be none if there are byproducts.
        at_ms: Wall time of all events.
        spec: Given with the first write, which creates the run.
        segments: Inputs that came with it.
        chunks: Result chunks that changed, whole.
        snapshot: Engine state as of the last event, if it is due.
        outbox: Messages that begin to exist with this commit.
        deliveries: Of its events, to webhooks.
        byproducts: What the run made besides.
    """

    run_id: RunId
    lease: Lease
    expected_seq: int
    events: Sequence[AnyEvent]
    at_ms: int
    completions_before: int
    progress: RunProgress
    spec: RunSpec | None = None
    segments: Sequence[InputSegment] = ()
    chunks: Sequence[ResultChunk] = ()
    snapshot: bytes | None = None
    outbox: Sequence[Message] = ()
    deliveries: Sequence[Delivery] = ()
    byproducts: Byproducts | None = None


class Committed(Struct, frozen=True):
    seq: int


class Conflict(Struct, frozen=True):
    """The run is not as the writer believed: another sequence number, or the run, its idempotency key or its
    sub-run key exists already (`existing` names the run that has it)."""

    reason: str
    existing: RunId | None = None


class Fenced(Struct, frozen=True):
    """The lease is no longer valid: this owner must stop."""


CommitResult = Committed | Conflict | Fenced


class WatchFor(StrEnum):
    """What ends a `Store.watch`."""

    CHANGE = "change"
    TERMINAL = "terminal"
    SETTLED = "settled"
    """It has ended, or is suspended."""


class RunFilter(Struct, frozen=True, kw_only=True):
    """Which runs `Store.runs` lists; `None` does not restrict."""

    status: RunState | None = None
    flow_id: str | None = None
    flow_name: str | None = None
    parent_run_id: str | None = None
    root_run_id: str | None = None
    job_run_id: str | None = None
    forked_from: str | None = None
    labels: dict[str, str] | None = None
    created_after_ms: int | None = None
    created_before_ms: int | None = None
