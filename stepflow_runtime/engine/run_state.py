"""What a run does: event → (state, commands). The heart of the system, and pure.

`RunFacts` is what the journal says, `Plan` what the flow wants, and `RunState` decides. Its methods are what can happen
to a run. Each records journal events, which change the facts at once, and leaves commands: in `after` those that must
wait until these events are durable, in `now` those that follow from what is durable already. The shell (`executor`)
commits the events of a turn together, a result and the starts that it makes possible in one transaction.

How items begin is told in `stretches`, what waits in `suspension` and `pause`. What happens seldom is told elsewhere
with the same few verbs: what follows a failure in `attempts`, how a run is asked to end in `cancellation`, how another
runtime takes it up again in `revival`.

No clock, no randomness, no I/O: times come in as arguments, attempts are numbered here, execution ids are the shell's.
Items hold their slot of `maxConcurrency` from start to end; server slots are not known here.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Raw

from protocol.errors import ItemErrorCode
from protocol.runs import RunState as RunStatus
from stepflow_runtime.engine.attempts import displace, fail_attempt
from stepflow_runtime.engine.commands import Abort, CancelledChildren, Command, Effect, EffectKind, Execute, LoadInputs
from stepflow_runtime.engine.facts import RunFacts
from stepflow_runtime.engine.folds import fold, fold_successes
from stepflow_runtime.engine.fork import Reuse
from stepflow_runtime.engine.inputs import InputWindow
from stepflow_runtime.engine.items import ItemRecord, StepRecord, take_resumes
from stepflow_runtime.engine.pause import Pause
from stepflow_runtime.engine.plan import Advance, Plan
from stepflow_runtime.engine.retry import RetryPolicy
from stepflow_runtime.engine.stretches import InputCheck, Stretches
from stepflow_runtime.engine.suspension import Suspensions
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import NULL, Answer, Displaced, Failure, NoAction, Outcome, Suspension
from stepflow_runtime.model.spec import RunSpec

ALONE_AFTER: Final = 2
"""After so many transport failures a step is sent alone to a process, so that only the culprit spends its budget."""

FAILURE_POLICY: Final = "failurePolicy"
RUN_TIMEOUT: Final = "runTimeout"
"""Reasons for which a run stops by itself."""


Output = tuple[int, str, bytes]
"""Item, step, and what it gave, raw JSON."""


class RunState:
    """One live run.

    Args:
        facts: What its journal says so far; with a spec.
        plan: Its flow, compiled, with its overrides.
        policy: The transport's retry budget and the default back-off.
        check_input: Tells what is wrong with an item's input, if the flow has a schema for it.

    Attributes:
        events: Recorded since the last commit was taken, in order.
        now, after: Commands, see the module.
        effects: What the next commit must tell sub-runs.
        durable_through: Items below it count as started even if the runtime dies now.
        durable_total: Inputs below it can be loaded.
        stretches: How items begin.
        waiting: What waits without a slot.
        pause: What waits because the run is paused.
        reuses: In a fork, what the items in `inputs` begin with.
    """

    __slots__ = (
        "__weakref__",
        "after",
        "durable_through",
        "durable_total",
        "effects",
        "events",
        "facts",
        "inputs",
        "now",
        "pause",
        "plan",
        "policy",
        "reuses",
        "spec",
        "stretches",
        "waiting",
    )

    def __init__(self, facts: RunFacts, plan: Plan, policy: RetryPolicy, check_input: InputCheck | None = None) -> None:
        assert facts.spec is not None
        self.spec: RunSpec = facts.spec
        self.facts = facts
        self.plan = plan
        self.policy = policy
        self.inputs = InputWindow(facts.next_item)
        self.events: list[AnyEvent] = []
        self.now: list[Command] = []
        self.after: list[Command] = []
        self.effects: list[Effect] = []
        self.durable_through = 0
        self.durable_total = 0
        whole = weakref.proxy(self)  # a run that has ended is gone at once, and none is left to the garbage collector
        self.waiting = Suspensions(whole)
        self.pause = Pause(whole)
        self.reuses: dict[int, Reuse] = {}
        self.stretches = Stretches(whole, check_input)

    @classmethod
    def create(
        cls,
        spec: RunSpec,
        total: int,
        sealed: bool,
        plan: Plan,
        policy: RetryPolicy,
        check_input: InputCheck | None = None,
        forked: ev.RunForked | None = None,
    ) -> RunState:
        """A new run: offer its first inputs, then `start_items`; those of a fork are loaded when it is durable."""
        facts = RunFacts()
        created = ev.RunCreated(spec, total, sealed)
        fold(facts, created)
        state = cls(facts, plan, policy, check_input)
        state.events.append(created)
        if forked is not None:
            state.record(forked)
        return state

    @property
    def is_stopping(self) -> bool:
        """Whether nothing new begins."""
        return self.facts.progress.cancel_requested or self.facts.stopped is not None

    @property
    def free_slots(self) -> int:
        """How many more items may be at work."""
        return self.spec.max_concurrency - len(self.facts.live) - len(self.waiting.loading)

    # --- items begin ---

    def start_items(self, *, begin: bool = True, now_ms: int = 0) -> None:
        """Starts items by index while there are slots and inputs, unless none may begin; ends the run if it is over.

        Before them goes what was resumed, and what waited for a time up to `now_ms`.
        """
        facts = self.facts
        if begin and not facts.progress.paused:
            if self.waiting and not self.is_stopping:
                self.waiting.give_slots(now_ms)
            while self.stretches.begin_next():
                pass
        self.inputs.advance(facts.next_item)
        missing = self.inputs.missing(facts.next_item, self.durable_total)
        if missing is not None and not self.is_stopping:
            self.now.append(LoadInputs(missing))
        if facts.progress.suspended and facts.is_suspended:
            self.record(ev.RunSuspended())
        self.end_run_if_over()

    # --- steps end ---

    def current(self, index: int, step: str, attempt: int) -> StepRecord | None:
        """The step, if this attempt of it may be executed: it is the latest, and has not ended or been cancelled."""
        item = self.facts.live.get(index)
        if item is None or item.cancelling:
            return None
        record = item.steps.get(step)
        if record is None or record.attempt != attempt or record.ended:
            return None
        if record.waits is not None and record.waits.suspended:
            return None
        return record

    def steps_succeeded(self, outputs: Iterable[Output]) -> int:
        """First attempts gave outputs, in this order, of an item one at most; see `step_ended`.

        Returns:
            How many of them counted.
        """
        if not self.plan.is_single_step:
            return sum([self.step_ended(index, step, 1, output, 0) for index, step, output in outputs])
        live = self.facts.live
        events: list[ev.StepSucceeded] = []
        for index, step, output in outputs:
            item = live.get(index)
            record = item.steps.get(step) if item is not None else None
            if item is not None and record is not None and record.attempt == 1 and not record.is_suspended:
                events.append(ev.StepSucceeded(index, step, 1, Raw(output), item.since))
        fold_successes(self.facts, events)
        self.events += events
        return len(events)

    def step_ended(self, index: int, step: str, attempt: int, outcome: Answer, now_ms: int) -> bool:
        """An attempt was answered. A late answer, of another attempt than the current one, changes nothing.

        Returns:
            Whether the answer counted.
        """
        item = self.facts.live.get(index)
        record = item.steps.get(step) if item is not None else None
        if item is None or record is None or record.attempt != attempt or record.ended:
            return False
        if record.waits is not None and record.waits.suspended:
            return False
        record.execution = None
        progress = item.progress
        assert progress is not None, "an item without evaluation has no executions"
        if type(outcome) is bytes:
            if self.plan.is_single_step:
                self.record(ev.StepSucceeded(index, step, attempt, Raw(outcome), item.since))
                return True
            advance = progress.ended(step, outcome)
            if advance.result is outcome:  # the item's value is this very output: one event for both
                self.record(ev.StepSucceeded(index, step, attempt, Raw(outcome), item.since))
                self._abort(item)
                return True
            self.record(ev.StepSucceeded(index, step, attempt, Raw(outcome)))
            self.follow(item, advance)
        elif isinstance(outcome, NoAction):
            self.record(ev.StepIdled(index, step, attempt, Raw(NULL), 0, outcome.reason))
            self.follow(item, progress.ended(step, NULL))
        elif isinstance(outcome, Suspension):
            if item.cancelling:
                fail_attempt(self, item, step, record, Failure(ItemErrorCode.CANCELLED, "cancelled"), now_ms)
            else:
                self.waiting.suspend(item, step, record, outcome, now_ms)
        elif isinstance(outcome, Displaced):
            displace(self, item, step, record, outcome.reason, now_ms)
        else:
            assert isinstance(outcome, Failure)
            fail_attempt(self, item, step, record, outcome, now_ms)
        return True

    def fail_step(self, item: ItemRecord, step: str, record: StepRecord, failure: Failure) -> None:
        """A step has failed for good; its default stands in for its output, if it has one."""
        assert item.progress is not None
        default = self.plan.steps[step].default
        self.record(ev.StepFailed(item.index, step, record.attempt, failure, default is not None))
        self.follow(item, item.progress.ended(step, failure if default is None else default))

    def retry_due(self, index: int, step: str, attempt: int) -> None:
        """The time of a retry has come."""
        item, record = self.facts.live.get(index), self.current(index, step, attempt)
        if item is not None and record is not None and item.progress is not None:
            self.execute_again(item, step, self.now)

    def execute_again(self, item: ItemRecord, step: str, commands: list[Command]) -> None:
        """The current attempt of a step that was executed before begins, unless the run is paused."""
        record = item.steps[step]
        if self.pause.is_on:
            self.pause.keep_attempt(item.index, step, record.attempt)
            return
        assert item.progress is not None
        value = self.plan.steps[step].expression.evaluate(item.progress)
        assert isinstance(value, bytes), "a step that was ready stays ready"
        resumes = () if record.waits is None else tuple(record.waits.resumes)
        is_suspect = record.transport_failures >= ALONE_AFTER
        commands.append(Execute(item.index, step, record.attempt, value, alone=is_suspect, resumes=resumes))

    def follow(self, item: ItemRecord, advance: Advance) -> None:
        """Records what follows from an item's evaluation: steps that begin, steps without input, the item's end."""
        for step, failure in advance.failed:
            defaulted = self.plan.steps[step].default is not None
            self.record(ev.StepFailed(item.index, step, 0, failure, defaulted))
        if advance.result is not None:
            self.end_item(item, advance.result)
        elif item.cancelling:
            if not item.at_work:
                self.cancel_item(item)
        elif advance.ready:
            self.begin_steps(item, advance.ready)
        else:
            self.waiting.park_if_idle(item)

    def holds_back(self, item: ItemRecord) -> bool:
        """Whether steps of an item are ready, and do not begin because the run is paused."""
        return self.pause.holds(item.index)

    def begin_steps(self, item: ItemRecord, ready: list[tuple[str, bytes]]) -> None:
        """Steps that were never executed begin, unless the run is paused."""
        if self.pause.is_on:
            self.pause.keep_ready(item.index, ready)
            return
        for step, value in ready:
            self.record(ev.StepStarted(item.index, step, 1))
            resumes = () if item.resumes is None else take_resumes(item, step)
            self.after.append(Execute(item.index, step, 1, value, resumes=resumes))

    # --- items end ---

    def end_item(self, item: ItemRecord, result: Outcome) -> None:
        """Its value is known, or why it has none."""
        self._abort(item)
        if isinstance(result, bytes):
            self.record(ev.ItemSucceeded(item.index, Raw(result), item.since))
            return
        self.record(ev.ItemFailed(item.index, result, item.since))
        bearable = self.spec.max_failures
        if bearable is not None and self.facts.progress.failed > bearable:
            self.stop(FAILURE_POLICY)

    def cancel_item(self, item: ItemRecord) -> None:
        """It ends without a result, at once."""
        self._abort(item)
        self.record(ev.ItemCancelled(item.index, item.cancel_reason, item.since))

    def _abort(self, item: ItemRecord) -> None:
        """Nobody needs what of this item is still in flight."""
        for record in item.steps.values():
            if record.execution is not None and not record.ended:
                self.after.append(Abort(record.execution))

    def end_run_if_over(self) -> None:
        """The run has ended with its last item."""
        facts, progress = self.facts, self.facts.progress
        if facts.is_terminal or not progress.sealed or progress.completions < progress.total:
            return
        status = RunStatus.SUCCESS
        if facts.cancelled_by_request or (progress.cancel_requested and not progress.total):
            status = RunStatus.CANCELLED
        elif progress.failed or progress.cancelled or facts.stopped is not None:
            status = RunStatus.FAILED
        self.record(ev.RunCompleted(status))

    # --- the run is told something ---

    def append(self, total: int, sealed: bool) -> None:
        """Inputs were added to an open run, or it was sealed; offer the inputs, then `start_items`."""
        self.record(ev.RunAppended(total, sealed))

    def child_created(self, item: int | None, step: str | None, child: RunId) -> None:
        """An execution of this run submitted a run."""
        self.record(ev.ChildCreated(item, step, child))

    def stop(self, reason: str) -> None:
        """Cancels at once whatever has not ended; the run fails."""
        if self.is_stopping or self.facts.is_terminal:
            return
        self.record(ev.RunStopped(reason))
        self.cancel_pending(reason)
        parked = self.waiting.cancel_parked(reason)
        items = [*self.facts.live.values(), *self.facts.queued.values()]
        for item in items:
            item.cancel_reason = reason
            self.cancel_item(item)
        self.cancel_children(reason, (*(item.index for item in items), *parked))

    def cancel_pending(self, reason: str | None) -> None:
        """No item begins any more."""
        facts, first = self.facts, self.facts.next_item
        for skipped in [*sorted(facts.skipped), facts.progress.total]:
            for stretch in facts.find_pending(first, skipped):
                self.record(ev.ItemsCancelled(*stretch, reason))
            first = skipped + 1

    def cancel_children(self, reason: str | None, items: tuple[int, ...] | None) -> None:
        """The sub-runs of these items, or all that the run has, are cancelled once this is durable."""
        self.effects.append(Effect(EffectKind.CANCEL_CHILDREN, msgspec.json.encode(CancelledChildren(reason, items))))

    def record(self, event: AnyEvent) -> None:
        """It happened; the next commit makes it durable."""
        fold(self.facts, event)
        self.events.append(event)
