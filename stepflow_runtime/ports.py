"""What the engine and the services need of the world, as Protocols, and the records that cross them.

Pure: no adapter is known here. `store/` implements `Store` and `BlobStore`, `connect/` implements `ComponentCaller`,
`app/` gives clock and ids. The ports are written for several runtimes over one database: a lease is checked in every
write, effects from run to run are outbox messages, and all reads may wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum, StrEnum
from typing import Any, Final, Protocol

from msgspec import Struct

from protocol.types import BlobType, RunState
from stepflow_runtime.model.events import AnyEvent, RunSpec
from stepflow_runtime.model.ids import BlobId, ExecutionId, RunId
from stepflow_runtime.model.outcome import Outcome
from stepflow_runtime.model.secret import NO_SECRETS, SecretReference, Secrets

# --- time and names --------------------------------------------------------------------------------------------------


class Clock(Protocol):
    def wall_ms(self) -> int:
        """Milliseconds since the epoch. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds. Never jumps; for durations within this process."""
        ...


class Ids(Protocol):
    def run_id(self) -> RunId:
        """A new UUIDv7."""
        ...

    def execution_id(self) -> ExecutionId:
        """A new id that cannot be guessed (128 bits)."""
        ...


# --- secrets ---------------------------------------------------------------------------------------------------------


class SecretSource(Protocol):
    """Knows the values of secret variables, and keeps them out of texts."""

    def find(self, reference: SecretReference) -> bytes | None:
        """The value, raw JSON; `None` if there is none. Looked up now: it may have changed."""
        ...

    def may_read(self, env_var: str) -> bool:
        """Whether anybody's flow may have this environment variable read."""
        ...

    def scrub(self, text: str) -> str:
        """The text without any value that was ever found. Costs nothing if none was."""
        ...

    def scrub_json(self, value: Any) -> Any:
        """The same for a JSON value, however it is nested."""
        ...


# --- component servers -----------------------------------------------------------------------------------------------


class Execution:
    """One attempt of one step of one item, from its dispatch to its answer.

    The engine makes it and a `ComponentCaller` carries it out. `owner` and `timeout` belong to the engine, `place` to
    the caller, `claims` and `submissions` to the service that submits runs.

    Attributes:
        input: Raw JSON.
        alone: Whether nothing else may be in flight on the process that executes it (PROTOCOL §6).
        begins_item: Whether the item starts with it: items that are under way go first.
        waiting: How many requests to the runtime this execution is parked in; while there is one, it takes no
            server slot.
        claims: The sub-runs that it submitted or found again, by key; `None` while there are none.
        secrets: What the tokens in its input stand for; empty if there are none.
        submissions: How often it submitted each content, by hash; `None` likewise.
    """

    __slots__ = (
        "alone",
        "attempt",
        "begins_item",
        "claims",
        "component",
        "execution_id",
        "flow_id",
        "input",
        "item_index",
        "owner",
        "place",
        "root_run_id",
        "run_id",
        "secrets",
        "step_id",
        "submissions",
        "timeout",
        "timeout_ms",
        "waiting",
    )

    def __init__(
        self,
        owner: Any,
        execution_id: ExecutionId,
        run_id: RunId,
        root_run_id: RunId,
        flow_id: BlobId,
        item_index: int,
        step_id: str,
        component: str,
        attempt: int,
        input: bytes,
        timeout_ms: int | None = None,
        alone: bool = False,
        begins_item: bool = False,
        secrets: Secrets = NO_SECRETS,
    ) -> None:
        self.owner = owner
        self.execution_id = execution_id
        self.run_id = run_id
        self.root_run_id = root_run_id
        self.flow_id = flow_id
        self.item_index = item_index
        self.step_id = step_id
        self.component = component
        self.attempt = attempt
        self.input = input
        self.timeout_ms = timeout_ms
        self.alone = alone
        self.begins_item = begins_item
        self.secrets = secrets
        self.waiting = 0
        self.place: Any = None
        self.timeout: Any = None
        self.claims: dict[str, RunId] | None = None
        self.submissions: dict[str, int] | None = None


class ExecutionSink(Protocol):
    """Where a `ComponentCaller` reports to; the engine implements it."""

    def dispatched(self, execution: Execution) -> None:
        """The request was written for a server: time-outs count from here. Called only if `timeout_ms` is set."""
        ...

    def answered(self, execution: Execution, outcome: Outcome) -> None:
        """The execution ended. Cheap: what follows from it happens in `end_turn`."""
        ...

    def end_turn(self) -> None:
        """All answers of one received chunk were reported."""
        ...


class ComponentCaller(Protocol):
    """Executes steps in component servers. Never waits; each `call` is answered once in the sink, unless cancelled."""

    def knows(self, component: str) -> bool:
        """Whether a route leads to this component's plugin. The component itself may still be missing."""
        ...

    def call(self, execution: Execution) -> None:
        """Queues an execution. It is sent when a server slot is free, round-robin over root runs."""
        ...

    def cancel(self, execution: Execution) -> None:
        """It is no longer current: taken out of the queue, or its server asked to stop. The sink hears no more of it,
        and what it still asks of the runtime is refused."""
        ...

    def interrupt(self, execution: Execution) -> None:
        """Asks for its end, and it stays current until then: it is answered once, with `CANCELLED` if it was queued,
        else with what the server says."""
        ...

    def park(self, execution: Execution) -> None:
        """The execution waits in a request to the runtime: its server slot is free meanwhile."""
        ...

    def unpark(self, execution: Execution) -> None:
        """The wait is over."""
        ...

    def flush(self) -> None:
        """Fills free server slots and sends what is queued: the end of a turn."""
        ...


# --- the store -------------------------------------------------------------------------------------------------------

SHARDS: Final = 256


class Lease(Struct, frozen=True):
    """The right to write the runs of a shard. On SQLite the epoch is a boot counter and there is one owner."""

    shard: int
    owner: str
    epoch: int


class RunProgress(Struct):
    """The projection of a run's journal that queries see; written with every commit.

    `completions` counts the items that ended. `running` are items that hold a slot.
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

    @property
    def completions(self) -> int:
        return self.success + self.failed + self.cancelled


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


class ResultChunk(Struct, frozen=True, array_like=True):
    """Where the results of items `chunk * SEGMENT_ITEMS …` are: little-endian 64-bit `seq << 2 | ItemRef`, up to
    the last item that has ended."""

    chunk: int
    refs: bytes


class JournalRow(Struct, frozen=True):
    """The events of one commit. `completions_before` is how many items had ended before its first event."""

    first_seq: int
    last_seq: int
    at_ms: int
    completions_before: int
    events: bytes


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
        events: At least one; the first gets `expected_seq + 1`.
        at_ms: Wall time of all events.
        spec: Given with the first write, which creates the run.
        segments: Inputs that came with it.
        chunks: Result chunks that changed, whole.
        snapshot: Engine state as of the last event, if it is due.
        outbox: Messages that begin to exist with this commit.
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


class RunFilter(Struct, frozen=True, kw_only=True):
    """Which runs `Store.runs` lists; `None` does not restrict."""

    status: RunState | None = None
    flow_id: str | None = None
    flow_name: str | None = None
    parent_run_id: str | None = None
    root_run_id: str | None = None
    labels: dict[str, str] | None = None
    created_after_ms: int | None = None
    created_before_ms: int | None = None


class Store(Protocol):
    """Runs and their journals. Errors of the medium are raised as `StoreUnavailable` and nothing is written."""

    def lease(self, root_run_id: RunId) -> Lease:
        """The lease under which the tree of this root may be written."""
        ...

    async def commit(self, writes: Sequence[RunWrite]) -> list[CommitResult]:
        """Writes all of them in one transaction, each alone in its success or failure, and wakes who watches.

        Cancellation: the transaction happens or does not; the caller must not assume either.
        """
        ...

    async def watch(self, run_id: RunId, after_seq: int, until: WatchFor = WatchFor.CHANGE) -> RunProgress | None:
        """Returns once the run has an event beyond `after_seq` (and, for TERMINAL, has ended); `None` if it is gone.

        Returns at once when that is true already. Woken by the commit, never by a timer.
        """
        ...

    async def run(self, run_id: RunId) -> RunRecord | None: ...

    async def runs(self, where: RunFilter, before: RunId | None, limit: int) -> list[RunRecord]:
        """Newest first (descending run id), those older than `before`."""
        ...

    async def unfinished(self) -> list[RunId]:
        """Runs that have not ended, oldest first: what recovery takes up."""
        ...

    async def children(self, run_id: RunId) -> list[RunRecord]:
        """Direct sub-runs, oldest first."""
        ...

    async def child(self, parent: RunId, item_index: int, step_id: str, key: str) -> RunRecord | None:
        """The sub-run that an execution of this step submitted under this key, the newest if there are several."""
        ...

    async def children_of_step(self, parent: RunId, item_index: int, step_id: str) -> list[RunRecord]:
        """All sub-runs of one step of one item, oldest first."""
        ...

    async def run_by_idempotency_key(self, principal: str, key: str) -> RunRecord | None: ...

    async def journal(self, run_id: RunId, from_seq: int, max_rows: int) -> list[JournalRow]:
        """Rows in order, beginning with the one that holds `from_seq` (or the first after it)."""
        ...

    async def journal_at_completion(self, run_id: RunId, ordinal: int, max_rows: int) -> list[JournalRow]:
        """Rows in order, beginning with the one in which the item with this completion ordinal (from 0) ended."""
        ...

    async def chunks(self, run_id: RunId, first: int, last: int) -> list[ResultChunk]:
        """The result chunks `first` to `last` inclusive that exist."""
        ...

    async def inputs(self, run_id: RunId, index: int) -> InputSegment | None:
        """The segment that holds this item's input."""
        ...

    async def snapshot(self, run_id: RunId) -> tuple[int, bytes] | None:
        """The last snapshot, and the sequence number as of which it was taken."""
        ...

    async def outbox(self) -> list[Message]:
        """Messages not yet settled, oldest first: what recovery delivers again."""
        ...

    async def settle(self, messages: Iterable[Message]) -> None:
        """Forgets messages that were delivered."""
        ...

    async def delete(self, run_ids: Sequence[RunId]) -> None:
        """Deletes ended runs and all that is theirs, in one transaction."""
        ...


class BlobStore(Protocol):
    """Content by the hash of its canonical bytes. Reads are verified; a mismatch is an error, never data."""

    async def put(self, blob_id: BlobId, data: bytes, blob_type: BlobType) -> None:
        """Durable when it returns. Storing the same content again changes nothing (and heals a corrupt blob)."""
        ...

    async def get(self, blob_id: BlobId) -> tuple[bytes, BlobType] | None: ...


class StoreUnavailable(Exception):
    """The medium refused (disk full, I/O error, lock): nothing was written; it may go again later."""


class StoreCorrupt(Exception):
    """What was read is not what was written."""
