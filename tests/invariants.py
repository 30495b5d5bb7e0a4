"""What must hold after every fault, whoever caused it: one checker for simulations, crashes and real processes.

It reads journals by itself, event for event, and does not believe the engine's own fold, which it compares. Executions
are counted outside the store, where no crash reaches them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from protocol.runs import RunState
from stepflow_runtime.engine.facts import RunFacts
from stepflow_runtime.engine.fork import holds
from stepflow_runtime.engine.recovery import fold_journal
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent, decode_events
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import RunFilter, RunRecord, Store
from stepflow_runtime.services.results import read_by_completion, read_by_index

Attempt = tuple[str, int, str, int]
"""Run, item, step and attempt number."""

_ALL = 1_000_000_000


class Executions:
    """Which attempts were executed, as the components saw it.

    Attributes:
        begun: How often each attempt was begun.
        last_begun_ms: When a step was last begun, where that is known.
    """

    def __init__(self) -> None:
        self.begun: Counter[Attempt] = Counter()
        self.last_begun_ms: dict[tuple[str, int, str], int] = {}
        self._running: dict[Attempt, object] = {}

    def begin(self, attempt: Attempt, where: object, at_ms: int | None = None) -> None:
        """A component begins, on this connection; at this wall time, if the runtime has the same clock."""
        self.begun[attempt] += 1
        self._running[attempt] = where
        if at_ms is not None:
            step = attempt[:3]
            self.last_begun_ms[step] = max(at_ms, self.last_begun_ms.get(step, 0))

    def end(self, attempt: Attempt) -> None:
        """It ended, or was cancelled."""
        self._running.pop(attempt, None)

    def forget(self, where: object) -> None:
        """What runs there is gone."""
        for attempt in [attempt for attempt, place in self._running.items() if place is where]:
            del self._running[attempt]


class JournalAudit:
    """Reads the events of one run in order, and says what is wrong with them.

    Attributes:
        attempts: The last attempt of each (item, step).
        steps_done: The attempt that each succeeded (item, step) succeeded with.
        ended: How each item ended.
        through: The largest watermark of items that may have started, and how many recoveries lie above each item.
        complaints: What is wrong.

    Args:
        run_id: The run.
        others: Those of older runs, by id: a fork keeps what ended in one of them.
    """

    def __init__(self, run_id: str, others: Mapping[str, JournalAudit] | None = None) -> None:
        self.run_id = run_id
        self._others = others or {}
        self.attempts: dict[tuple[int, str], int] = {}
        self.steps_done: dict[tuple[int, str], int] = {}
        self.ended: dict[int, str] = {}
        self.recoveries: list[int] = []
        self.watermark = 0
        self.complaints: list[str] = []
        self._started: set[int] = set()
        self._suspended: set[tuple[int, str]] = set()
        self._steps_ended: set[tuple[int, str]] = set()
        self._total = 0
        self._sealed = False
        self._is_stopped = False
        self._status: RunState | None = None

    def read(self, events: Sequence[AnyEvent]) -> None:
        """Goes on with these."""
        for event in events:
            if self._status is not None:
                self._complain(f"{type(event).__name__} follows the end of the run")
            self._read_one(event)

    def _read_one(self, event: AnyEvent) -> None:
        match event:
            case ev.RunCreated(total=total, sealed=sealed):
                self._total, self._sealed = total, sealed
            case ev.RunForked():
                self._fork(event)
            case ev.RunAppended(total=total, sealed=sealed):
                if self._sealed or total < self._total:
                    self._complain(f"appended to {total} of {self._total}, sealed {self._sealed}")
                self._total, self._sealed = total, sealed
            case ev.WindowOpened(through=through):
                self.watermark = max(self.watermark, through)
            case ev.RunRecovered(through=through):
                self.recoveries.append(through)
            case ev.ItemsStarted(first=first, last=last, steps=steps, attempt=attempt):
                for item in range(first, last + 1):
                    if item in self._started or item in self.ended:
                        self._complain(f"item {item} started again")
                    self._started.add(item)
                    for step in steps:
                        self._start_step(item, step, attempt, above=0)
            case ev.StepStarted(item=item, step=step, attempt=attempt):
                self._start_step(item, step, attempt, above=0)
            case ev.StepRetrying(item=item, step=step, attempt=attempt):
                self._start_step(item, step, attempt, above=self.attempts.get((item, step), 0))
            case ev.StepResumed(item=item, step=step, attempt=attempt):
                self._resume_step(item, step, attempt)
            case ev.StepSuspended(item=item, step=step, attempt=attempt):
                if self.attempts.get((item, step)) != attempt or (item, step) in self._suspended:
                    self._complain(f"step {item}/{step} suspends as {attempt}, {self.attempts.get((item, step))} is on")
                self._suspended.add((item, step))
            case ev.StepSucceeded(item=item, step=step, attempt=attempt, since=since):
                self._end_step(item, step, attempt)
                self.steps_done[item, step] = attempt
                if since:
                    self._end_item(item, "success")
            case ev.StepFailed(item=item, step=step, attempt=attempt):
                self._end_step(item, step, attempt)
            case ev.ItemSucceeded(item=item):
                self._end_item(item, "success")
            case ev.ItemFailed(item=item):
                self._end_item(item, "failed")
            case ev.ItemCancelled(item=item):
                self._end_item(item, "cancelled")
            case ev.ItemsCancelled(first=first, last=last, parked=parked):
                for item in range(first, last + 1):
                    if item in self._started and not parked:
                        self._complain(f"item {item} was started and cancelled as one that was not")
                    self._end_item(item, "cancelled")
            case ev.RunStopped():
                self._is_stopped = True
            case ev.RunCompleted(status=status):
                self._complete(status)
            case _:
                pass

    def _resume_step(self, item: int, step: str, attempt: int) -> None:
        if (item, step) not in self._suspended:
            self._complain(f"step {item}/{step} is resumed and was not suspended")
        self._suspended.discard((item, step))
        self._start_step(item, step, attempt, above=self.attempts.get((item, step), 0))

    def _start_step(self, item: int, step: str, attempt: int, above: int) -> None:
        if item in self.ended or (item, step) in self._steps_ended:
            self._complain(f"step {item}/{step} begins after its end")
        if item not in self._started:
            self._complain(f"step {item}/{step} begins before its item")
        if attempt <= above or (not above and (item, step) in self.attempts):
            self._complain(f"step {item}/{step}: attempt {attempt} follows {self.attempts.get((item, step))}")
        self.attempts[item, step] = attempt

    def _end_step(self, item: int, step: str, attempt: int) -> None:
        if item in self.ended or (item, step) in self._steps_ended:
            self._complain(f"step {item}/{step} ended again")
        if attempt != self.attempts.get((item, step), 0):
            self._complain(f"step {item}/{step} ended with attempt {attempt}, {self.attempts.get((item, step))} is on")
        self._steps_ended.add((item, step))

    def _fork(self, event: ev.RunForked) -> None:
        kept = {
            item: how for item, how in self._others[event.origin].ended.items() if not holds(event.travelling, item)
        }
        counts = Counter(kept.values())
        if (counts["success"], counts["failed"], counts["cancelled"]) != (event.success, event.failed, event.cancelled):
            self._complain(f"it keeps {counts}, and says {event}")
        self.ended.update(kept)

    def _end_item(self, item: int, how: str) -> None:
        if item in self.ended:
            self._complain(f"item {item} ended again: {self.ended[item]}, then {how}")
        if item >= self._total:
            self._complain(f"item {item} of {self._total} ended")
        self.ended[item] = how

    def _complete(self, status: RunState) -> None:
        self._status = status
        if len(self.ended) != self._total:
            self._complain(f"the run ended with {len(self.ended)} of {self._total} items")
        is_good = all(how == "success" for how in self.ended.values())
        is_cut_short = is_good and self._is_stopped  # its time was over while it was open
        if (status is RunState.SUCCESS) != is_good and self._total and not is_cut_short:
            self._complain(f"the run is {status}, its items {Counter(self.ended.values())}")

    def _complain(self, text: str) -> None:
        self.complaints.append(f"{self.run_id}: {text}")

    def may_execute(self, item: int, step: str) -> int:
        """The largest attempt that may have been executed."""
        if item in self._started:
            return self.attempts.get((item, step), 0)
        if item >= max([self.watermark, *self.recoveries]):
            return 0
        return 1 + sum(through > item for through in self.recoveries)


def believe(event: ev.StepSucceeded) -> str | None:
    """Finds nothing wrong with any output."""
    return None


async def audit_store(
    store: Store, executions: Executions, check_output: Callable[[ev.StepSucceeded], str | None] = believe
) -> list[str]:
    """Checks every run of a store in which all has ended; returns what is wrong (G1 to G4 of the promises).

    Args:
        store: At rest.
        executions: All that were executed, in all lives of the runtime.
        check_output: Says what is wrong with a step's output.
    """
    complaints: list[str] = []
    audits: dict[str, JournalAudit] = {}
    records = await store.runs(RunFilter(), None, _ALL)
    for record in reversed(records):
        audit = audits[record.spec.run_id] = JournalAudit(record.spec.run_id, audits)
        for row in await store.journal(record.spec.run_id, 1, _ALL):
            events = decode_events(row.events)
            audit.read(events)
            outputs = [event for event in events if isinstance(event, ev.StepSucceeded)]
            complaints += [
                f"{record.spec.run_id}/{event.item}/{event.step} was begun again after it had succeeded"
                for event in outputs
                if executions.last_begun_ms.get((record.spec.run_id, event.item, event.step), 0) > row.at_ms
            ]
            complaints += [f"{record.spec.run_id}: {wrong}" for event in outputs if (wrong := check_output(event))]
        complaints += audit.complaints
        complaints += await _compare_fold(store, record)
        complaints += await _count_results(store, record, audit)
    complaints += _audit_executions(executions, audits)
    complaints += await _audit_children(store, records)
    return complaints


async def _compare_fold(store: Store, record: RunRecord) -> list[str]:
    facts = RunFacts()
    await fold_journal(store, record.spec.run_id, facts)
    folded, projected = msgspec.structs.asdict(facts.progress), msgspec.structs.asdict(record.progress)
    return [
        f"{record.spec.run_id}: {name} is {projected[name]}, its journal says {folded[name]}"
        for name in folded
        if folded[name] != projected[name]
    ]


async def _count_results(store: Store, record: RunRecord, audit: JournalAudit) -> list[str]:
    run_id, progress = record.spec.run_id, record.progress
    if progress.status not in TERMINAL_RUN_STATES:
        return [f"{run_id} has not ended: {progress}"]
    by_index = (await read_by_index(store, record.spec, 0, _ALL, progress.total, _ALL)).entries
    by_completion = (await read_by_completion(store, record.spec, 0, _ALL, _ALL)).entries
    complaints = []
    if [entry.item_index for entry in by_index] != list(range(progress.total)):
        complaints.append(f"{run_id}: {progress.total} items, results of {[entry.item_index for entry in by_index]}")
    if sorted(by_completion, key=lambda entry: entry.item_index) != by_index:
        complaints.append(f"{run_id}: the results by completion are not those by index")
    if {entry.item_index: str(entry.result.outcome) for entry in by_index} != audit.ended:
        complaints.append(f"{run_id}: results are not as its items ended")
    counts = Counter(audit.ended.values())
    if (counts["success"], counts["failed"], counts["cancelled"]) != (
        progress.success,
        progress.failed,
        progress.cancelled,
    ):
        complaints.append(f"{run_id}: counted {counts}, the projection says {progress}")
    return complaints


def _audit_executions(executions: Executions, audits: dict[str, JournalAudit]) -> list[str]:
    complaints = []
    for (run_id, item, step, attempt), times in executions.begun.items():
        where = f"{run_id}/{item}/{step}, attempt {attempt}"
        if times > 1:
            complaints.append(f"{where} was executed {times} times")
        audit = audits.get(run_id)
        if audit is None:
            complaints.append(f"{where} was executed for a run that is not there")
        elif attempt > audit.may_execute(item, step):
            complaints.append(f"{where} was executed, {audit.may_execute(item, step)} are recorded")
    return complaints


async def _audit_children(store: Store, records: Sequence[RunRecord]) -> list[str]:
    """Every sub-run of a step was made once, however often the step was executed; no step asks twice for the same."""
    made: Counter[tuple[object, ...]] = Counter()
    for record in records:
        link = record.spec.parent
        if link is not None and record.progress.status is RunState.SUCCESS:
            segment = await store.inputs(record.spec.run_id, 0)
            made[link.run_id, link.item_index, link.step_id, record.spec.flow_id, segment] += 1
    return [f"the sub-run {which} was made {times} times" for which, times in made.items() if times > 1]
