"""What a run asks of its shell. Pure data.

Commands that follow from an event are carried out once its commit is durable; the others at once (`RunState.now`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct

from stepflow_runtime.model.events import RetryCause
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import Resume


class Execute(Struct, frozen=True, gc=False):
    """Begin this attempt of a step.

    `alone`: with nothing else in flight on its process. `begins_item`: it is among the first of its item. `resumes`:
    what the step was resumed with before.
    """

    item: int
    step: str
    attempt: int
    input: bytes
    alone: bool = False
    begins_item: bool = False
    resumes: tuple[Resume, ...] = ()


class Abort(Struct, frozen=True, gc=False):
    """End an execution that the shell attached to a step: nobody needs its answer."""

    execution: Any


class Interrupt(Struct, frozen=True, gc=False):
    """Ask an execution to end; its answer counts if it comes in time."""

    execution: Any


class Wake(Struct, frozen=True, gc=False):
    """Call `retry_due` for this attempt at `due_ms`, wall time; `cause` is why there is one."""

    item: int
    step: str
    attempt: int
    due_ms: int
    cause: RetryCause


class AwaitTurn(Struct, frozen=True, gc=False):
    """Call `begin_turn` for this item when nothing else that may have taken the runtime down is at work.

    Those of which it was said in fewer `stops` come first.
    """

    item: int
    stops: int


class LoadInputs(Struct, frozen=True, gc=False):
    """Offer the inputs from this index on."""

    index: int


class LoadItem(Struct, frozen=True, gc=False):
    """Read what is needed to go on with an item, and hand it to `Suspensions.take_up`."""

    item: int


class EffectKind(StrEnum):
    """What a run can do to its sub-runs."""

    CANCEL_CHILDREN = "cancelChildren"
    CANCEL_UNCLAIMED = "cancelUnclaimed"


class CancelledChildren(Struct, frozen=True):
    """Sub-runs of a run, or of some of its items, are cancelled with it."""

    reason: str | None
    items: tuple[int, ...] | None


class UnclaimedChildren(Struct, frozen=True):
    """Sub-runs of a step that its committed attempt did not claim are cancelled."""

    item: int
    step: str
    claimed: list[RunId]


class Effect(Struct, frozen=True, gc=False):
    """An effect on sub-runs: it leaves as an outbox message of the commit that it follows from. `body` is JSON."""

    kind: EffectKind
    body: bytes


Command = Execute | Abort | Interrupt | Wake | AwaitTurn | LoadInputs | LoadItem
