"""What happened in a run: the journal's events, and the facts a run begins with.

Each event has a sequence number within its run; the first is 1. A journal row holds the events of one commit, encoded
by `encode_events`. Payloads are `Raw` JSON and are stored here only: results are found through the sequence number of
the event that holds them. Item starts are ranges, never an event per item. What is written here is kept for ever, so
fields are only ever added at the end (`JOURNAL_VERSION`).
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final

import msgspec
from msgspec import Raw, Struct

from protocol.runs import RunState
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import Failure
from stepflow_runtime.model.spec import RunSpec

JOURNAL_VERSION: Final = 1


class RetryCause(StrEnum):
    """Whose budget an attempt was taken from; a lost runtime costs nobody's, and neither does a restart."""

    COMPONENT = "component"
    TRANSPORT = "transport"
    RECOVERY = "recovery"
    RESTART = "restart"
    """Somebody asked for it, or started its component server anew."""


class Nap(Struct, frozen=True, array_like=True):
    """A sleep that a component asked for while it executes; see `SleepBegan`."""

    key: str
    due_ms: int
    correlation_id: str | None = None
    stopped: bool = False


class Parked(IntEnum):
    """Whether an item holds no slot although it has begun, and why."""

    NO = 0
    SUSPENDED = 1
    """It waits to be resumed."""
    SLEEPING = 2
    """It goes on by itself."""


class StepSummary(Struct, frozen=True, array_like=True):
    """How far a step has got, as it is kept while nobody works on its item.

    `ended`, `suspended` and `resumed` are sequence numbers: of the event that ended it, of the one that suspended it,
    and of those that resumed it before; 0 or empty if there are none.
    """

    id: str
    attempt: int
    ended: int = 0
    component_failures: int = 0
    transport_failures: int = 0
    cause: RetryCause | None = None
    due_ms: int = 0
    suspended: int = 0
    sleeps: bool = False
    token: str | None = None
    resumed: tuple[int, ...] = ()
    naps: tuple[Nap, ...] = ()


class Event(Struct, frozen=True, array_like=True, tag_field="e"):
    """Base of all events."""


class RunCreated(Event, frozen=True, tag=1):
    spec: RunSpec
    total: int
    sealed: bool


class RunAppended(Event, frozen=True, tag=2):
    """Inputs were added: there are `total` now."""

    total: int
    sealed: bool


class WindowOpened(Event, frozen=True, tag=3):
    """Items below `through` may be started: after a crash they count as started (`started_through`)."""

    through: int


class ItemsStarted(Event, frozen=True, tag=4):
    """Items `first` to `last` inclusive took their slots, and each began with `steps`."""

    first: int
    last: int
    steps: tuple[str, ...]
    attempt: int = 1


class StepStarted(Event, frozen=True, tag=5):
    """A step became ready and was handed over for execution."""

    item: int
    step: str
    attempt: int


class StepSucceeded(Event, frozen=True, tag=6):
    """`since` is given when this ended the item: the sequence number from which its events are found."""

    item: int
    step: str
    attempt: int
    value: Raw
    since: int = 0


class StepFailed(Event, frozen=True, tag=7):
    """A step failed for good: no attempt is left. `defaulted` if its `onError` default stands in for its output.

    `attempt` is 0 if it was never executed, because its input failed.
    """

    item: int
    step: str
    attempt: int
    error: Failure
    defaulted: bool = False


class StepRetrying(Event, frozen=True, tag=8):
    """An attempt failed, or was lost; attempt number `attempt` begins at `due_ms`."""

    item: int
    step: str
    attempt: int
    error: Failure
    due_ms: int
    cause: RetryCause


class ItemSucceeded(Event, frozen=True, tag=9):
    """The item ended with a value that is not just the output of the step that ended with it."""

    item: int
    value: Raw
    since: int


class ItemFailed(Event, frozen=True, tag=10):
    item: int
    error: Failure
    since: int


class ItemCancelled(Event, frozen=True, tag=11):
    """`since` is the event that parked it, if it was `parked`."""

    item: int
    reason: str | None
    since: int
    parked: Parked = Parked.NO


class ItemsCancelled(Event, frozen=True, tag=12):
    """Items `first` to `last` inclusive were cancelled. None of them had started, or all of them were `parked`.

    `distances` lead to the events that parked them: each is so far behind that of the item before it.
    """

    first: int
    last: int
    reason: str | None
    parked: Parked = Parked.NO
    distances: tuple[int, ...] = ()


class CancelRequested(Event, frozen=True, tag=13):
    """`items` is `None` when the whole run was meant."""

    reason: str | None
    items: tuple[int, ...] | None = None


class ChildCreated(Event, frozen=True, tag=14):
    """An execution of this run submitted a run."""

    item: int | None
    step: str | None
    child: RunId


class RunCompleted(Event, frozen=True, tag=15):
    status: RunState


class RunStopped(Event, frozen=True, tag=16):
    """What has not ended is cancelled, but not by request: the `failurePolicy` struck, or `runTimeoutMs` is over."""

    reason: str


class RunRecovered(Event, frozen=True, tag=17):
    """A runtime took the run up again. Items below `through` may have been started before.

    `suspects` are items that may have taken the runtime before down; `held` are those that wait for their turn;
    `spared` are those that had theirs, and were not alone.
    """

    through: int
    suspects: tuple[int, ...] = ()
    held: tuple[int, ...] = ()
    spared: tuple[int, ...] = ()


class RunStarted(Event, frozen=True, tag=18):
    """The first item is about to start."""


class StepIdled(StepSucceeded, frozen=True, tag=29):
    """A step succeeded and took no action; its `value` is `null`, and it never ends the item by itself."""

    reason: str | None = None


class StepSuspended(Event, frozen=True, tag=30):
    """A step left its process until it is resumed, or until `due_ms`, if that is not 0.

    At `due_ms` it fails, or if it `sleeps` goes on by itself. `payload` and `schema` are JSON, `null` if there is none.
    """

    item: int
    step: str
    attempt: int
    label: str
    payload: Raw
    schema: Raw
    token: str | None = None
    due_ms: int = 0
    sleeps: bool = False


class StepResumed(Event, frozen=True, tag=31):
    """What a step waited for has come: it goes again as `attempt`. Its item may have to wait for a slot first."""

    item: int
    step: str
    attempt: int
    label: str
    data: Raw
    request_id: str | None = None


class ItemParked(Event, frozen=True, tag=32):
    """An item gave its slot back: all of its steps that have begun and not ended wait for something.

    Nothing else is kept of it but where this event is.
    """

    item: int
    how: Parked
    since: int
    steps: tuple[StepSummary, ...]
    idle: int = 0


class ItemWoken(Event, frozen=True, tag=33):
    """An item that was parked is so no more; `queued` if it waits for a slot, `awake` if its sleeps were stopped."""

    item: int
    how: Parked
    since: int
    steps: tuple[StepSummary, ...]
    queued: bool
    idle: int = 0
    awake: bool = False


class ItemContinued(Event, frozen=True, tag=34):
    """An item that waited for a slot has one."""

    item: int


class RunSuspended(Event, frozen=True, tag=35):
    """No item is pending or running, and one waits to be resumed."""


class SleepBegan(Event, frozen=True, tag=36):
    """A component sleeps until `due_ms`; under `key` another attempt finds the sleep again."""

    item: int
    step: str
    key: str
    due_ms: int
    correlation_id: str | None = None


class SleepsStopped(Event, frozen=True, tag=37):
    """Sleeps that would have lasted beyond `at_ms` are over: those with these correlation ids, or all."""

    at_ms: int
    correlation_ids: tuple[str, ...] | None = None


class RunPaused(Event, frozen=True, tag=38):
    """No step begins until the run is unpaused."""


class RunUnpaused(Event, frozen=True, tag=39):
    """Steps begin again."""


Stretches = tuple[tuple[int, int], ...]
"""Whole numbers in ascending order, as `(first, last)` of those that follow on each other."""


class RunForked(Event, frozen=True, tag=40):
    """Another run goes on as this one; the second event of a fork. The other run knows nothing of it.

    Args:
        origin: The other run.
        travelling: The items that go again; all others have the results that they have there.
        success, failed, cancelled, no_action: How many of those others there are.
        by_request: Whether a request cancelled the cancelled ones.
        ordinals: Which ends of items there, counted from 0, were of travelling ones.
        begun: The travelling ones that had begun there and not ended, and since which event.
    """

    origin: RunId
    travelling: Stretches
    success: int = 0
    failed: int = 0
    cancelled: int = 0
    no_action: int = 0
    by_request: bool = False
    ordinals: Stretches = ()
    begun: tuple[tuple[int, int], ...] = ()


class StepsReused(Event, frozen=True, tag=41):
    """Items `first` to `last` inclusive, which just began, have the outcomes of these steps from elsewhere.

    `acted` are those of the steps that did something, see `StepIdled`.
    """

    first: int
    last: int
    steps: tuple[str, ...]
    acted: int


class StepsRestarted(Event, frozen=True, tag=42):
    """Somebody had active steps go again; a request that is repeated under its id has the same `content`, a hash."""

    request_id: str
    content: str


AnyEvent = (
    RunCreated
    | RunAppended
    | WindowOpened
    | ItemsStarted
    | StepStarted
    | StepSucceeded
    | StepFailed
    | StepRetrying
    | ItemSucceeded
    | ItemFailed
    | ItemCancelled
    | ItemsCancelled
    | CancelRequested
    | ChildCreated
    | RunCompleted
    | RunStopped
    | RunRecovered
    | RunStarted
    | StepIdled
    | StepSuspended
    | StepResumed
    | ItemParked
    | ItemWoken
    | ItemContinued
    | RunSuspended
    | SleepBegan
    | SleepsStopped
    | RunPaused
    | RunUnpaused
    | RunForked
    | StepsReused
    | StepsRestarted
)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[AnyEvent])

encode_events = _encoder.encode


def decode_events(data: bytes) -> list[AnyEvent]:
    """The events of one journal row. Their `Raw` fields keep `data` alive."""
    return _decoder.decode(data)


def find_parking(event: AnyEvent, item: int) -> int:
    """The sequence number of the event that parked an item which was cancelled by this one; 0 if it was not parked."""
    match event:
        case ItemCancelled(since=since, parked=parked):
            return since if parked else 0
        case ItemsCancelled(first=first, distances=distances):
            return sum(distances[: item + 1 - first])
        case _:
            return 0


def completions(event: AnyEvent) -> int:
    """How many items ended by this event."""
    match event:
        case StepSucceeded(since=since):
            return 1 if since else 0
        case ItemSucceeded() | ItemFailed() | ItemCancelled():
            return 1
        case ItemsCancelled(first=first, last=last):
            return last - first + 1
        case RunForked(success=success, failed=failed, cancelled=cancelled):
            return success + failed + cancelled
        case _:
            return 0
