"""The shell around the runs' states: it commits what they record and carries out what they ask.

A *turn* is what happens at once: a chunk of answers was received, timers were due, a request came. In a turn answers go
into the `RunState`s; at its end free slots are filled and requests are sent. What was recorded is committed in groups:
while one commit is on its way, the next one gathers. What follows from a commit is done when it is durable.

Above: `services` and `app`. Below: the pure engine and the ports. It knows neither wire nor database.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial

import trio

from protocol.errand import Later
from protocol.errors import ItemErrorCode
from stepflow_runtime.engine.active_run import ActiveRun, Taken
from stepflow_runtime.engine.cancellation import disown_children, request_cancel
from stepflow_runtime.engine.commands import Abort, AwaitTurn, Command, Execute, Interrupt, LoadInputs, LoadItem, Wake
from stepflow_runtime.engine.committer import Committer
from stepflow_runtime.engine.programs import Program
from stepflow_runtime.engine.restarting import restart_steps
from stepflow_runtime.engine.retry import RetryPolicy
from stepflow_runtime.engine.run_state import Output, RunState
from stepflow_runtime.engine.run_timers import RunTimers
from stepflow_runtime.engine.supply import InputSupply
from stepflow_runtime.engine.tally import Tally
from stepflow_runtime.engine.timers import Timers
from stepflow_runtime.engine.turns import Turns
from stepflow_runtime.engine.waking import Waking
from stepflow_runtime.model.events import RunForked, StepsRestarted
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import Answer, Failure, Suspension
from stepflow_runtime.model.spec import ParentLink, RunSpec
from stepflow_runtime.ports import (
    Announcer,
    Answered,
    Clock,
    CommitResult,
    ComponentCaller,
    Execution,
    Ids,
    Message,
    RunProgress,
    RunRecord,
    Store,
)


class Executor:
    """Executes runs. Implements `ExecutionSink` and `CommitSink`; all methods are called in the one trio thread.

    Args:
        store: Where runs live.
        clock, ids: The world.
        policy: The transport's retry budget and the default back-off.
        open_run_timeout_s: An open run without an append for so long is sealed.
        announcer: Whom events interest; `None` if nobody.

    Attributes:
        caller: Who executes steps; set once, before `run`.
        is_draining: Whether nothing new begins, because the runtime is about to stop.
        tally: What was committed, in numbers.
    """

    caller: ComponentCaller

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: Ids,
        policy: RetryPolicy,
        *,
        open_run_timeout_s: float = 3600.0,
        announcer: Announcer | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self.policy = policy
        self.timers = Timers(clock)
        self.waking = Waking(store, clock, self.timers, self.touch, self.wait_committed)
        self._run_timers = RunTimers(clock, self.timers, self.touch, open_run_timeout_s)
        self._supply = InputSupply(store, self.touch)
        self._turns = Turns()
        self._runs: dict[RunId, ActiveRun] = {}
        self._touched: dict[RunId, ActiveRun] = {}
        self.tally = Tally()
        self._committer = Committer(store, clock, self, self.tally, announcer)
        self._in_turn = False
        self.is_draining = False
        self._messages: trio.MemorySendChannel[Message]
        self._messages, self.messages = trio.open_memory_channel[Message](float("inf"))

    async def run(self) -> None:
        """Commits, timers, and loading of inputs, until cancelled.

        Raises:
            Superseded: A lease is no longer valid.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.timers.run)
            nursery.start_soon(self.waking.run)
            nursery.start_soon(self._supply.run)
            await self._committer.run()

    # --- runs come and go ---

    async def submit(
        self,
        spec: RunSpec,
        inputs: Sequence[bytes],
        *,
        sealed: bool,
        program: Program,
        forked: RunForked | None = None,
        total: int = 0,
    ) -> CommitResult:
        """Makes a run durable and starts it.

        Args:
            spec: Who it is; its id is new.
            inputs: Raw JSON without newlines, an item each.
            sealed: Whether no more inputs will be appended.
            program: Its flow.
            forked: What a fork goes on with; it has no inputs of its own.
            total: How many items a fork has.

        Returns:
            `Committed`, or a `Conflict` that names the run which has its idempotency or sub-run key already.

        Raises:
            StoreUnavailable: Nothing was written, the run does not exist.

        Cancellation: The run may exist afterwards.
        """
        count = len(inputs) if forked is None else total
        state = RunState.create(spec, count, sealed, program.plan, self.policy, program.check_input, forked)
        run = ActiveRun(state, self._store.lease(spec.root_run_id), RunProgress())
        self._runs[spec.run_id] = run
        run.offer(0, inputs)
        self._touched[spec.run_id] = run
        self._run_timers.watch(run)
        return await self._commit_of(run)

    async def append(self, run: ActiveRun, inputs: Sequence[bytes], *, sealed: bool) -> CommitResult:
        """Adds inputs to an open run, and seals it if that is said."""
        total = run.state.facts.progress.total
        run.state.append(total + len(inputs), sealed)
        run.offer(total, inputs)
        self._touched[run.spec.run_id] = run
        self._run_timers.watch_appends(run)
        return await self._commit_of(run)

    def hold(self) -> None:
        """Begins no item and no execution any more; answers still count, and the rest waits for the next start."""
        self.is_draining = True

    async def wait_idle(self) -> None:
        """Waits until all that was recorded is durable."""
        await self._committer.wait_idle()

    def adopt(self, run: ActiveRun) -> None:
        """Goes on with a run that was recovered from the store."""
        self._runs[run.spec.run_id] = run
        self._run_timers.watch(run)
        self.waking.adopt(run)
        self._touched[run.spec.run_id] = run

    def deliver(self, message: Message) -> None:
        """Queues a durable message for `messages`."""
        self._messages.send_nowait(message)

    def active(self, run_id: RunId) -> ActiveRun | None:
        """The run, if it has not durably ended."""
        return self._runs.get(run_id)

    def active_runs(self) -> Iterable[ActiveRun]:
        """All runs that have not durably ended."""
        return self._runs.values()

    @property
    def uncommitted(self) -> int:
        """How many runs have recorded something that is part of no commit yet."""
        return self._committer.gathered

    def awaits_store(self, run_id: RunId) -> bool:
        """Whether the run waits for a store that is unavailable."""
        return self._committer.is_stuck(run_id)

    def record(self, run_id: RunId) -> RunRecord | None:
        """The run as of its last commit, if it has not durably ended."""
        run = self._runs.get(run_id)
        return run.record if run is not None and run.committed.seq else None

    def request_cancel(self, run_id: RunId, reason: str | None, items: Sequence[int] | None, grace_s: float) -> None:
        """Cancels a run, or some items of it, and by outbox its sub-runs; `Store.watch` tells when it is over."""
        run = self._runs.get(run_id)
        if run is None:
            return
        request_cancel(run.state, reason, items)
        self._run_timers.give_grace(run, items, grace_s)
        self.touch(run)

    def restart_steps(
        self, run: ActiveRun, items: Collection[int] | None, request: StepsRestarted | None = None
    ) -> None:
        """Has the active steps of a run, or of some items of it, go again."""
        restart_steps(run.state, items, self._clock.wall_ms(), request)
        self.touch(run)

    async def wait_items_ended(self, run_id: RunId, items: Sequence[int]) -> None:
        """Waits until none of the items is live any more, and that is durable."""
        run = self._runs.get(run_id)
        if run is None:
            return
        while any(run.state.facts.is_open(item) for item in items):
            await self.wait_committed(run, run.committed.seq + 1)
        await self.wait_committed(run, run.state.facts.seq)

    async def wait_committed(self, run: ActiveRun, seq: int) -> None:
        """Waits until what this run has recorded up to `seq` is durable, and `record` knows it."""
        if run.committed.seq < seq and run.spec.run_id in self._runs:
            over = Later[None]()
            run.awaiting.append((seq, over))
            await over

    def is_current(self, execution: Execution) -> bool:
        """Whether the answer of an execution would still count."""
        run = self._runs.get(execution.run_id)
        item = None if run is None else run.state.facts.live.get(execution.item_index)
        record = None if item is None else item.steps.get(execution.step_id)
        return record is not None and record.execution is execution

    async def commit_byproducts(self, run: ActiveRun) -> None:
        """Waits until what was added to a run's byproducts is durable, however long that takes.

        Cancellation: it becomes durable nevertheless.
        """
        ticket = Later[CommitResult]()
        run.tickets.append(ticket)
        self._committer.gather(run)
        await ticket

    def child_created(self, parent: ParentLink, child: RunId) -> None:
        """Notes in a run's journal that one of its executions submitted a run."""
        run = self._runs.get(parent.run_id)
        if run is not None and not run.state.facts.is_terminal:
            run.state.child_created(parent.item_index, parent.step_id, child)
            self.touch(run)

    def touch(self, run: ActiveRun) -> None:
        """Takes a turn with a run in which something happened."""
        self._touched[run.spec.run_id] = run
        self.end_turn()

    # --- what executions report (ExecutionSink) ---

    def dispatched(self, execution: Execution) -> None:
        if execution.timeout_ms is not None:
            execution.timeout = self.timers.after(execution.timeout_ms / 1000, partial(self._timed_out, execution))

    def answered(self, answers: Iterable[Answered]) -> None:
        run: ActiveRun | None = None
        outputs: list[Output] = []
        for execution, outcome in answers:
            if execution.timeout is not None:
                execution.timeout.cancel()
            if type(outcome) is bytes and execution.attempt == 1:
                if execution.owner is not run:
                    self._succeeded(run, outputs)
                    run, outputs = execution.owner, []
                outputs.append((execution.item_index, execution.step_id, outcome))
            else:
                self._succeeded(run, outputs)
                run, outputs = None, []
                self._answered(execution, outcome)
        self._succeeded(run, outputs)

    def _succeeded(self, run: ActiveRun | None, outputs: Sequence[Output]) -> None:
        """First attempts in one run gave outputs: most answers are that, and they cost less together."""
        if run is not None and run.state.steps_succeeded(outputs):
            self._touched[run.spec.run_id] = run

    def _answered(self, execution: Execution, outcome: Answer) -> None:
        run: ActiveRun = execution.owner
        if type(outcome) is Suspension:
            outcome = self.waking.admit(run, execution, outcome)
        now_ms = self._clock.wall_ms()
        if run.state.step_ended(execution.item_index, execution.step_id, execution.attempt, outcome, now_ms):
            if execution.attempt > 1 and type(outcome) is not Suspension:
                claims = execution.claims or {}
                disown_children(run.state, execution.item_index, execution.step_id, execution.attempt, claims.values())
            self._touched[execution.run_id] = run

    def has_others(self, execution: Execution, count: int) -> bool:
        run: ActiveRun = execution.owner
        return len(run.state.facts.live) > count or execution.run_id in self._touched

    def end_turn(self) -> None:
        if self._in_turn:  # what was answered while requests were sent is seen by the loop below
            return
        self._in_turn = True
        try:
            self.caller.flush()
            while self._touched or self._give_turn():
                touched, self._touched = self._touched, {}
                for run in touched.values():
                    self._take_turn(run)
                    if run.state.events:
                        self._committer.gather(run)
                self.caller.flush()
        finally:
            self._in_turn = False

    def _take_turn(self, run: ActiveRun) -> None:
        state = run.state
        now_ms = self._clock.wall_ms() if state.waiting else 0
        state.start_items(begin=not self.is_draining and run.delay is None, now_ms=now_ms)
        if state.waiting or run.alarm is not None:
            self.waking.arm(run)
        commands, state.now = state.now, []
        self._carry_out(run, commands)

    def _give_turn(self) -> bool:
        if not self._turns or self.is_draining:
            return False
        run = self._turns.give(self._clock.wall_ms())
        if run is None:
            return False
        self._touched[run.spec.run_id] = run
        return True

    # --- commands ---

    def _carry_out(self, run: ActiveRun, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case Execute():
                    self._execute(run, command)
                case Abort(execution=execution):
                    self.caller.cancel(execution)
                case Interrupt(execution=execution):
                    self.caller.interrupt(execution)
                case Wake(due_ms=due_ms, cause=cause):
                    self.tally.retries[cause] += 1
                    self.timers.at_ms(due_ms, partial(self._retry_due, run, command))
                case AwaitTurn(item=index, stops=stops):
                    self._turns.add(run, index, stops)
                    self._touched[run.spec.run_id] = run
                case LoadItem(item=index):
                    self.waking.load(run, index)
                case LoadInputs(index=index):
                    self._supply.ask(run, index)

    def _execute(self, run: ActiveRun, command: Execute) -> None:
        record = run.state.current(command.item, command.step, command.attempt)
        if record is None or self.is_draining:
            return
        planned, spec = run.state.plan.steps[command.step], run.spec
        record.execution = execution = Execution(
            run,
            self._ids.execution_id(),
            spec.run_id,
            spec.root_run_id,
            spec.flow_id,
            command.item,
            command.step,
            planned.component,
            command.attempt,
            command.input,
            planned.timeout_ms,
            command.alone,
            command.begins_item,
            spec.secrets,
            command.resumes,
            run.trace,
        )
        self.caller.call(execution)

    # --- timers ---

    def _retry_due(self, run: ActiveRun, command: Wake) -> None:
        run.state.retry_due(command.item, command.step, command.attempt)
        self.touch(run)

    def _timed_out(self, execution: Execution) -> None:
        failure = Failure(
            ItemErrorCode.TIMEOUT,
            f"step {execution.step_id!r} did not end within {execution.timeout_ms} ms (timeoutMs)",
            {"timeoutMs": execution.timeout_ms},
        )
        self.answered([(execution, failure)])
        self.caller.cancel(execution)
        self.end_turn()

    # --- commits (CommitSink) ---

    async def _commit_of(self, run: ActiveRun) -> CommitResult:
        ticket = Later[CommitResult]()
        run.tickets.append(ticket)
        self.end_turn()
        return await ticket

    def durable(self, taken: Taken) -> None:
        run, write = taken.run, taken.write
        self.tally.note(run.committed, write, run.spec.created_at_ms)
        run.committed = write.progress
        if run.awaiting:
            run.tell()
        run.state.durable_through = write.progress.started_through
        if run.state.durable_total < write.progress.total:  # more inputs than memory holds can be loaded now
            self._touched[write.run_id] = run
        run.state.durable_total = write.progress.total
        if write.progress.completed_at_ms is not None:
            self._drop(run)
        self._carry_out(run, taken.commands)
        for message in write.outbox:
            self.deliver(message)

    def refused(self, run: ActiveRun) -> None:
        self._drop(run)

    def _drop(self, run: ActiveRun) -> None:
        self._runs.pop(run.spec.run_id, None)
        self._run_timers.drop(run)
        self.waking.drop(run)
        run.tell(is_gone=True)
