"""What a run does: event → (state, commands). The heart of the system, and pure.

`RunFacts` is what the journal says, `Plan` what the flow wants, and `RunState` decides. Its methods are what can happen
to a run. Each records journal events, which change the facts at once, and leaves commands: in `after` those that must
wait until these events are durable, in `now` those that follow from what is durable already. The shell (`executor`)
commits the events of a turn together, a result and the starts that it makes possible in one transaction.

What happens all the time is here. What happens seldom is told with the same few verbs elsewhere: how a run is asked to
end in `cancellation`, how another runtime takes it up again in `revival`.

No clock, no randomness, no I/O: times come in as arguments, attempts are numbered here, execution ids are the shell's.
Items hold their slot of `maxConcurrency` from start to end; server slots are not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Raw

from protocol.errors import ItemErrorCode
from protocol.runs import RunState as RunStatus
from stepflow_runtime.engine.commands import (
    Abort,
    CancelledChildren,
    Command,
    Effect,
    EffectKind,
    Execute,
    LoadInputs,
    Wake,
)
from stepflow_runtime.engine.facts import RunFacts
from stepflow_runtime.engine.fork import Reuse, find_next
from stepflow_runtime.engine.inputs import InputWindow
from stepflow_runtime.engine.items import ItemRecord, StepRecord, take_resumes
from stepflow_runtime.engine.pause import Pause
from stepflow_runtime.engine.plan import Advance, Plan, Progress
from stepflow_runtime.engine.retry import RetryPolicy, decide
from stepflow_runtime.engine.suspension import Suspensions
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent, RetryCause
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import NULL, Answer, Displaced, Failure, NoAction, Outcome, Suspension
from stepflow_runtime.model.spec import RunSpec

MIN_LEAD: Final = 16
MAX_LEAD: Final = 4096
"""By how much the durable watermark of started items leads those that start, at least and at most."""

ALONE_AFTER: Final = 2
"""After so many transport failures a step is sent alone to a process, so that only the culprit spends its budget."""

FAILURE_POLICY: Final = "failurePolicy"
RUN_TIMEOUT: Final = "runTimeout"
"""Reasons for which a run stops by itself."""

LOST: Final = Failure(ItemErrorCode.UNREACHABLE, "the runtime stopped while this was executed")

InputCheck = Callable[[bytes], Failure | None]


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
        waiting: What waits without a slot.
        pause: What waits because the run is paused.
        reuses: In a fork, what the items in `inputs` begin with.
    """

    __slots__ = (
        "_check_input",
        "_lead",
        "_policy",
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
        "reuses",
        "spec",
        "waiting",
    )

    def __init__(self, facts: RunFacts, plan: Plan, policy: RetryPolicy, check_input: InputCheck | None = None) -> None:
        assert facts.spec is not None
        self.spec: RunSpec = facts.spec
        self.facts = facts
        self.plan = plan
        self.inputs = InputWindow(facts.next_item)
        self.events: list[AnyEvent] = []
        self.now: list[Command] = []
        self.after: list[Command] = []
        self.effects: list[Effect] = []
        self.durable_through = 0
        self.durable_total = 0
        self.waiting = Suspensions(self)
        self.pause = Pause(self)
        self.reuses: dict[int, Reuse] = {}
        self._policy = policy
        self._check_input = check_input
        self._lead = max(MIN_LEAD, min(self.spec.max_concurrency, MAX_LEAD))

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
        facts.fold(created)
        state = cls(facts, plan, policy, check_input)
        state.events.append(created)
        if forked is not None:
            state.record(forked)
        return state

    @property
    def is_stopping(self) -> bool:
        """Whether nothing new begins."""
        return self.facts.progress.cancel_requested or self.facts.stopped is not None

    # --- items begin ---

    def start_items(self, *, begin: bool = True, now_ms: int = 0) -> None:
        """Starts items by index while there are slots and inputs, unless none may begin; ends the run if it is over.

        Before them goes what was resumed, and what waited for a time up to `now_ms`.
        """
        facts = self.facts
        if begin and not facts.progress.paused:
            if self.waiting and not self.is_stopping:
                self.waiting.give_slots(now_ms)
            while self._start_stretch():
                pass
        self.inputs.advance(facts.next_item)
        missing = self.inputs.missing(facts.next_item, self.durable_total)
        if missing is not None and not self.is_stopping:
            self.now.append(LoadInputs(missing))
        if facts.progress.suspended and facts.is_suspended:
            self.record(ev.RunSuspended())
        self.end_run_if_over()

    def _start_stretch(self) -> bool:
        """Starts as many of the next items as can begin with one common event; tells whether there were any."""
        facts, total = self.facts, self.facts.progress.total
        first = facts.next_item
        end = min(first + self.spec.max_concurrency - len(facts.live) - len(self.waiting.loading), total)
        if first >= end or self.is_stopping:
            return False
        for bound in (self.durable_through, *facts.recoveries):
            if first < bound < end:
                end = bound
        begin = self._evaluate_stretch if facts.forked is None else self._evaluate_again
        steps, stretch = begin(first, end)
        if not stretch:
            return False
        if facts.progress.status is RunStatus.PENDING:
            self.record(ev.RunStarted())
        last = first + len(stretch) - 1
        attempt = facts.attempt_of_start(first)
        if facts.progress.started_through - last <= self._lead // 2 and facts.progress.started_through < total:
            self.record(ev.WindowOpened(min(last + 1 + self._lead, total)))
        self.record(ev.ItemsStarted(first, last, steps, attempt))
        reuses = self.reuses
        if reuses and (reuse := reuses[first]).outcomes:
            self.record(ev.StepsReused(first, last, tuple(reuse.outcomes), reuse.acted))
        is_known = attempt == 1 and last < self.durable_through  # what began before must not seem never to have begun
        commands = self.now if is_known else self.after
        for index, (progress, advance) in enumerate(stretch, first):
            item = facts.live.get(index)
            if item is None:  # the failure of one before it stopped the run
                break
            item.progress = progress
            if reuses:
                item.resumes = reuses.pop(index).resumes or None
            for step, value in advance.ready:
                resumes = () if item.resumes is None else take_resumes(item, step)
                commands.append(Execute(index, step, attempt, value, begins_item=True, resumes=resumes))
            if advance.failed or advance.result is not None:
                self.follow(item, Advance(failed=advance.failed, result=advance.result))
        return True

    def _evaluate_stretch(self, first: int, end: int) -> tuple[tuple[str, ...], list[tuple[Progress, Advance]]]:
        plan, variables, check, skipped = self.plan, self.spec.variables, self._check_input, self.facts.skipped
        stretch: list[tuple[Progress, Advance]] = []
        steps: tuple[str, ...] = ()
        for index in range(first, end):
            value = self.inputs.get(index)
            if value is None or index in skipped:
                break
            progress = Progress(plan, value, variables)
            failure = check(value) if check is not None else None
            advance = progress.start() if failure is None else Advance(result=failure)
            began = tuple([step for step, _ in advance.ready])
            if not stretch:
                steps = began
            elif began != steps:
                break
            stretch.append((progress, advance))
        return steps, stretch

    def _evaluate_again(self, first: int, end: int) -> tuple[tuple[str, ...], list[tuple[Progress, Advance]]]:
        """The same for items of a fork: they begin alike if they also re-use the same steps."""
        forked, check, variables = self.facts.forked, self._check_input, self.spec.variables
        stretch: list[tuple[Progress, Advance]] = []
        common: tuple[tuple[str, ...], tuple[str, ...], int] = (), (), 0
        travelling = find_next(forked.travelling, first) if forked is not None else None
        for index in range(first, first if travelling is None else min(travelling[1] + 1, end)):
            value, reuse = self.inputs.get(index), self.reuses.get(index)
            if value is None or reuse is None or index in self.facts.skipped:
                break
            progress = Progress.restore(self.plan, value, variables, reuse.outcomes)
            failure = check(value) if check is not None else None
            advance = progress.start() if failure is None else Advance(result=failure)
            alike = tuple([step for step, _ in advance.ready]), tuple(reuse.outcomes), reuse.acted
            if not stretch:
                common = alike
            elif alike != common:
                break
            stretch.append((progress, advance))
        return common[0], stretch

    # --- steps end ---

    def current(self, index: int, step: str, attempt: int) -> StepRecord | None:
        """The step, if this attempt of it may be executed: it is the latest, and has not ended or been cancelled."""
        item = self.facts.live.get(index)
        if item is None or item.cancelling:
            return None
        record = item.steps.get(step)
        if record is None or record.attempt != attempt or record.ended or record.is_suspended:
            return None
        return record

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
                self._step_failed(item, step, record, Failure(ItemErrorCode.CANCELLED, "cancelled"), now_ms)
            else:
                self.waiting.suspend(item, step, record, outcome, now_ms)
        elif isinstance(outcome, Displaced):
            self._displace(item, step, record, Failure(ItemErrorCode.CANCELLED, outcome.reason), now_ms)
        else:
            assert isinstance(outcome, Failure)
            self._step_failed(item, step, record, outcome, now_ms)
        return True

    def _displace(self, item: ItemRecord, step: str, record: StepRecord, reason: Failure, now_ms: int) -> None:
        if item.cancelling or self.is_stopping:
            self._step_failed(item, step, record, reason, now_ms)
        else:
            self.retry(item, step, record, reason, RetryCause.RESTART, now_ms)

    def _step_failed(self, item: ItemRecord, step: str, record: StepRecord, failure: Failure, now_ms: int) -> None:
        planned = self.plan.steps[step]
        retry = None
        if not (item.cancelling or self.is_stopping):
            retry = decide(
                failure,
                policy=self._policy,
                on_error=planned.on_error,
                component_failures=record.component_failures,
                transport_failures=record.transport_failures,
                jitter_of=f"{self.spec.run_id}/{item.index}/{step}/{record.attempt}",
            )
        if retry is not None:
            self.retry(item, step, record, failure, retry.cause, now_ms + retry.delay_ms)
        elif item.cancelling:
            self.record(ev.StepFailed(item.index, step, record.attempt, failure))
            self.cancel_item(item)
        else:
            self.fail_step(item, step, record, failure)

    def fail_step(self, item: ItemRecord, step: str, record: StepRecord, failure: Failure) -> None:
        """A step has failed for good; its default stands in for its output, if it has one."""
        assert item.progress is not None
        default = self.plan.steps[step].default
        self.record(ev.StepFailed(item.index, step, record.attempt, failure, default is not None))
        self.follow(item, item.progress.ended(step, failure if default is None else default))

    def retry(
        self, item: ItemRecord, step: str, record: StepRecord, error: Failure, cause: RetryCause, due_ms: int
    ) -> None:
        """Ends the current attempt of a step; the next one begins at `due_ms`, wall time."""
        attempt = record.attempt + 1
        self.record(ev.StepRetrying(item.index, step, attempt, error, due_ms, cause))
        self.after.append(Wake(item.index, step, attempt, due_ms, cause))

    def repeat(self, item: ItemRecord, now_ms: int) -> None:
        """What was at work in an item when the runtime stopped goes again."""
        for step in item.at_work:
            record = item.steps[step]
            self.retry(item, step, record, LOST, RetryCause.RECOVERY, max(record.due_ms, now_ms))

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
        self.facts.fold(event)
        self.events.append(event)
