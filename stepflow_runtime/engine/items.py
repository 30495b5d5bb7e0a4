"""The records of a run's items that are in memory, and how they are summarized while nobody works on them. Pure.

`facts` changes them by folding events, and nothing else does; what belongs to the shell says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from stepflow_runtime.engine.fork import NOTHING, Reuse
from stepflow_runtime.engine.plan import Advance, Plan, Progress
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent, Nap, RetryCause, StepSummary
from stepflow_runtime.model.outcome import Outcome, Resume


class StepWaits(Struct, eq=False):
    """What a step waited for, and perhaps waits for.

    Attributes:
        suspended: The sequence number of the event that suspended it, 0 while it is not.
        sleeps: Whether it goes on by itself then.
        token: Under which it can be resumed.
        resumed: The sequence numbers of the events that resumed it before.
        resumes: What it was resumed with; absent after a restore, until its item is taken up.
        naps: Sleeps within its executions, by key.
    """

    suspended: int = 0
    sleeps: bool = False
    token: str | None = None
    resumed: list[int] = []
    resumes: list[Resume] = []
    naps: dict[str, Nap] = {}


class StepRecord(Struct, eq=False):
    """One step of a live item.

    Attributes:
        attempt: The number of the current attempt, or of the last one; 0 if it was never executed.
        ended: The sequence number of the event that ended it, 0 while it has not.
        cause: What the last retry was for.
        due_ms: Wall time at which the current attempt may begin, or its suspension is over; 0 if at once, or never.
        waits: What it waits for, or did; `None` for most.
        execution: Belongs to the shell: what carries out the current attempt.
    """

    attempt: int
    ended: int = 0
    component_failures: int = 0
    transport_failures: int = 0
    cause: RetryCause | None = None
    due_ms: int = 0
    waits: StepWaits | None = None
    execution: Any = None

    @property
    def is_suspended(self) -> bool:
        """Whether it has left its process and waits, or sleeps."""
        return self.waits is not None and self.waits.suspended > 0 and not self.ended


class ItemRecord(Struct, eq=False):
    """A live item: one that has started and has not ended.

    Attributes:
        since: The sequence number from which its events are found.
        progress: Its evaluation; absent after a restore, until the engine recovers the item.
        cancelling: Whether only the answers in flight are still waited for.
        stops: How often in a row it may have taken the runtime down, without getting on in between.
        spared: How often it was at work in such a stop and it was not counted, because it was not alone in its turn.
        held: Whether it waits for its turn because of that.
        idle: How many of its steps took no action, less those whose outcome it re-uses and that did.
        resumes: What its steps begin with as if resumed, by step; absent after a restore, until it is taken up.
    """

    index: int
    since: int
    steps: dict[str, StepRecord] = {}
    progress: Progress | None = None
    cancelling: bool = False
    cancel_reason: str | None = None
    stops: int = 0
    spared: int = 0
    held: bool = False
    idle: int = 0
    resumes: Mapping[str, tuple[Resume, ...]] | None = None

    @property
    def active(self) -> list[str]:
        """The steps that have begun and have not ended."""
        return [step for step, record in self.steps.items() if not record.ended]

    @property
    def at_work(self) -> list[str]:
        """Those of them that are not suspended."""
        return [step for step, record in self.steps.items() if not record.ended and not record.is_suspended]


def summarize(item: ItemRecord) -> tuple[StepSummary, ...]:
    """The steps of an item, in the order in which they began, as they are stored."""
    return tuple([_summarize_step(id, step) for id, step in item.steps.items()])


def _summarize_step(id: str, step: StepRecord) -> StepSummary:
    failures = step.component_failures, step.transport_failures
    waits = step.waits
    if waits is None:
        return StepSummary(id, step.attempt, step.ended, *failures, step.cause, step.due_ms)
    return StepSummary(
        id,
        step.attempt,
        step.ended,
        *failures,
        step.cause,
        step.due_ms,
        waits.suspended,
        waits.sleeps,
        waits.token,
        tuple(waits.resumed),
        tuple(waits.naps.values()),
    )


def revive(index: int, since: int, steps: Iterable[StepSummary]) -> ItemRecord:
    """An item as `summarize` left it."""
    item = ItemRecord(index, since)
    item.steps = {summary.id: _revive_step(summary) for summary in steps}
    return item


def _revive_step(summary: StepSummary) -> StepRecord:
    record = StepRecord(summary.attempt)
    record.ended = summary.ended
    record.component_failures = summary.component_failures
    record.transport_failures = summary.transport_failures
    record.cause = summary.cause
    record.due_ms = summary.due_ms
    if summary.suspended or summary.resumed or summary.naps:
        waits = record.waits = StepWaits()
        waits.suspended, waits.sleeps, waits.token = summary.suspended, summary.sleeps, summary.token
        waits.resumed = list(summary.resumed)
        waits.naps = {nap.key: nap for nap in summary.naps}
    return record


def find_seqs(item: ItemRecord) -> Iterator[int]:
    """The sequence numbers of the events that `restore_evaluation` needs."""
    for record in item.steps.values():
        if record.ended:
            yield record.ended
        if record.waits is not None:
            yield from record.waits.resumed


def take_resumes(item: ItemRecord, step: str) -> tuple[Resume, ...]:
    """What a step that begins is told it was resumed with: something in a fork, else nothing."""
    given = item.resumes.get(step, ()) if item.resumes is not None else ()
    if given:
        item.steps[step].waits = waits = StepWaits()
        waits.resumes = list(given)
    return given


def restore_evaluation(
    item: ItemRecord,
    plan: Plan,
    value: bytes,
    variables: Mapping[str, bytes],
    events: Mapping[int, AnyEvent],
    reuse: Reuse = NOTHING,
) -> Advance:
    """Brings an item's evaluation back, and what its steps were resumed with.

    Args:
        item: The item.
        plan: Of its run.
        value: Its input.
        variables: Of its run.
        events: What `find_seqs` names.
        reuse: What it began with, in a fork.

    Returns:
        What follows: the steps that have begun and have not ended are ready again.
    """
    ended: dict[str, Outcome] = dict(reuse.outcomes)
    item.resumes = reuse.resumes or None
    for step, record in item.steps.items():
        if record.ended:
            ended[step] = read_outcome(plan, step, events[record.ended])
        given = reuse.resumes.get(step, ())
        if given and record.waits is None:
            record.waits = StepWaits()
        if record.waits is not None:
            record.waits.resumes = [*given, *(read_resume(events[seq]) for seq in record.waits.resumed)]
    item.progress = Progress.restore(plan, value, variables, ended)
    return item.progress.start()


def read_outcome(plan: Plan, step: str, event: AnyEvent) -> Outcome:
    match event:
        case ev.StepSucceeded(value=value):
            return bytes(value)
        case ev.StepFailed(error=error, defaulted=defaulted):
            default = plan.steps[step].default
            return default if defaulted and default is not None else error
        case _:
            raise AssertionError(f"{type(event).__name__} does not end a step")


def read_resume(event: AnyEvent) -> Resume:
    assert isinstance(event, ev.StepResumed)
    return Resume(event.label, bytes(event.data))
