"""One run without executor, trio or time: the test is the shell around its `RunState`.

A turn is taken after whatever happens; commits happen when the test says so, into a real store in memory. All that was
ever dispatched is kept, over restarts too, so that promises about attempts can be checked.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar, cast

import msgspec

from protocol.runs import RunState as RunStatus
from stepflow_runtime.engine.active_run import ActiveRun
from stepflow_runtime.engine.cancellation import end_grace, request_cancel
from stepflow_runtime.engine.commands import Abort, Command, Execute, Interrupt, LoadInputs, LoadItem, Wake
from stepflow_runtime.engine.inputs import make_segments
from stepflow_runtime.engine.loading import read_events
from stepflow_runtime.engine.plan import compile_plan
from stepflow_runtime.engine.recovery import load_facts, watch_parked_items
from stepflow_runtime.engine.results import decode_refs, seq_of
from stepflow_runtime.engine.retry import RetryPolicy
from stepflow_runtime.engine.revival import revive
from stepflow_runtime.engine.run_state import RunState
from stepflow_runtime.engine.snapshot import take_snapshot
from stepflow_runtime.engine.stretches import InputCheck
from stepflow_runtime.engine.taking_up import load_items, read_live_items
from stepflow_runtime.model.events import AnyEvent, ItemParked, StepFailed, StepSucceeded, completions, decode_events
from stepflow_runtime.model.flow import parse_flow
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.model.outcome import Answer, Outcome, Resume
from stepflow_runtime.model.schema import compile_input_checker
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.ports import SEGMENT_ITEMS, Committed, ItemRef, RunProgress
from stepflow_runtime.store.memory import MemoryStore
from tests.stepflow_runtime.engine.world import QUICK, describe_facts, fold_all, read_journal

T = TypeVar("T")
RUN = RunId("01910001-0000-7000-8000-000000000000")

Place = tuple[int, str, int]
"""Item, step, attempt."""


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing, as those of the store in memory."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return cast(T, stop.value)
    raise AssertionError("it waits")


class Bench:
    """See the module.

    Args:
        flow: What the run executes.
        inputs: An item each.
        spec: Further fields of the run's spec.

    Attributes:
        in_flight: What is executed now.
        dispatched: Everything that ever was, in order.
        asked: What was asked to end, gently.
    """

    def __init__(
        self,
        flow: dict[str, Any],
        inputs: Iterable[Any],
        *,
        sealed: bool = True,
        policy: RetryPolicy = QUICK,
        **spec: Any,
    ) -> None:
        parsed = parse_flow(flow)
        self.plan = compile_plan(parsed)
        self.policy = policy
        checker = compile_input_checker(parsed.input_schema)
        self.check: InputCheck | None = None if checker is None else checker.check
        self.store = MemoryStore()
        self.now_ms = 1000
        self.in_flight: dict[Place, Execute] = {}
        self.dispatched: list[Place] = []
        self.asked: list[Place] = []
        self.wakes: list[Wake] = []
        self.loads: list[int] = []
        values = [msgspec.json.encode(value) for value in inputs]
        self.spec = RunSpec(run_id=RUN, root_run_id=RUN, flow_id=BlobId("f"), created_at_ms=self.now_ms, **spec)
        self.state = RunState.create(self.spec, len(values), sealed, self.plan, policy, self.check)
        self.run = ActiveRun(self.state, self.store.lease(RUN), RunProgress())
        self._offer(0, values)
        self.turn()

    # --- the shell ---

    def turn(self) -> None:
        self.state.start_items(now_ms=self.now_ms)
        commands, self.state.now = self.state.now, []
        self._carry_out(commands)
        if self.loads and not self.state.events:
            self.load_items()

    def commit(self, *, snapshot: bool = False) -> None:
        """Makes durable what was recorded, and does what follows from it."""
        if not self.state.events:
            return
        taken = self.run.take(self.now_ms)
        if snapshot:
            taken.write.snapshot = take_snapshot(self.state.facts)
        (result,) = drive(self.store.commit([taken.write]))
        assert isinstance(result, Committed), result
        self.state.durable_through = taken.write.progress.started_through
        self.state.durable_total = taken.write.progress.total
        self._carry_out(taken.commands)
        self.turn()

    def load_items(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Reads what is to go on, as far as it is durable; something may happen before it is taken up."""
        indexes, self.loads = self.loads, []
        facts, through = self.state.facts, len(self.journal)
        loaded = drive(load_items(self.store, facts, self.plan, indexes, through))
        meanwhile()
        for index in indexes:
            self.state.waiting.take_up(index, loaded[index])
        self.turn()

    def commit_all(self) -> None:
        while self.state.events:
            self.commit()

    def restart(self) -> None:
        """The runtime dies, with all that was not committed, and another one takes the run up."""
        facts = drive(load_facts(self.store, RUN))
        committed = msgspec.json.decode(msgspec.json.encode(facts.progress), type=RunProgress)
        self.in_flight.clear()
        self.wakes.clear()
        if facts.is_terminal:
            self.state.events = []
            return
        self.loads.clear()
        self.state = RunState(facts, self.plan, self.policy, self.check)
        self.state.durable_total = facts.progress.total
        revive(self.state, *drive(read_live_items(self.store, self.state)), self.now_ms)
        self.run = ActiveRun(self.state, self.store.lease(RUN), committed)
        drive(watch_parked_items(self.store, self.run))
        self.turn()

    def _carry_out(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case Execute(item=item, step=step, attempt=attempt):
                    record = self.state.current(item, step, attempt)
                    if record is not None:
                        record.execution = place = (item, step, attempt)
                        self.in_flight[place] = command
                        self.dispatched.append(place)
                case Abort(execution=place):
                    self.in_flight.pop(place, None)
                case Interrupt(execution=place):
                    self.asked.append(place)
                case Wake():
                    self.wakes.append(command)
                case LoadItem(item=index):
                    self.loads.append(index)
                case LoadInputs(index=index):
                    segment = drive(self.store.inputs(RUN, index))
                    assert segment is not None, "what is not durable cannot be loaded"
                    self.state.inputs.offer(segment)
                    self.turn()

    def _offer(self, first: int, values: list[bytes]) -> None:
        segments = make_segments(first, values)
        self.run.segments.extend(segments)
        for segment in segments:
            self.state.inputs.offer(segment)

    # --- what happens ---

    def answer(self, place: Place, outcome: Answer = b"1") -> bool:
        self.in_flight.pop(place, None)
        counted = self.state.step_ended(*place, outcome, self.now_ms)
        self.turn()
        return counted

    def succeed(self, *places: Place) -> int:
        """Answers several at once; tells how many of the answers counted."""
        for place in places:
            self.in_flight.pop(place, None)
        counted = self.state.steps_succeeded([(index, step, b"1") for index, step, _ in places])
        self.turn()
        return counted

    def answer_all(self, outcome: Answer = b"1") -> None:
        for place in list(self.in_flight):
            if place in self.in_flight:
                self.answer(place, outcome)

    def pass_time(self, ms: int = 10_000) -> None:
        self.now_ms += ms
        due = [wake for wake in self.wakes if wake.due_ms <= self.now_ms]
        self.wakes = [wake for wake in self.wakes if wake.due_ms > self.now_ms]
        for wake in due:
            self.state.retry_due(wake.item, wake.step, wake.attempt)
        self.turn()

    def suspended(self, *, sleeping: bool = False) -> list[tuple[int, str, int]]:
        """(item, step, sequence number) of what waits, in memory or parked; as far as it is durable."""
        found = [
            (item.index, step, record.waits.suspended, record.waits.sleeps)
            for item in (*self.state.facts.live.values(), *self.state.facts.queued.values())
            for step, record in item.steps.items()
            if record.waits is not None and record.is_suspended
        ]
        found += [
            (parked.item, step.id, step.suspended, step.sleeps)
            for parked in self._parked()
            for step in parked.steps
            if step.suspended and not step.ended
        ]
        return sorted(entry[:3] for entry in found if entry[3] is sleeping)

    def _parked(self) -> list[ItemParked]:
        durable = len(self.journal)
        seqs = [seq_of(ref) for _, ref in self.state.facts.results.iterate_parked() if seq_of(ref) <= durable]
        return [event for event in drive(read_events(self.store, RUN, seqs)).values() if isinstance(event, ItemParked)]

    def resume(self, item: int, step: str, suspended: int, data: bytes = b"7", label: str = "1") -> bool:
        """Ends a suspension, as whoever has found it."""
        ref = self.state.facts.results.find_parked(item)
        parked = next((event for event in self._parked() if event.item == item), None)
        resumed = self.state.waiting.resume(
            item, step, suspended, Resume(label, data), parked=parked, parked_seq=seq_of(ref)
        )
        self.turn()
        return resumed

    def wake_up(self) -> int:
        count = self.state.waiting.stop_sleeps(self.now_ms)
        self.turn()
        return count

    def pause(self) -> None:
        self.state.pause.begin()
        self.turn()

    def unpause(self) -> None:
        self.state.pause.end()
        self.turn()

    def append(self, inputs: Iterable[Any], *, sealed: bool = False) -> None:
        values = [msgspec.json.encode(value) for value in inputs]
        total = self.state.facts.progress.total
        self.state.append(total + len(values), sealed)
        self._offer(total, values)
        self.turn()

    def cancel(self, items: Iterable[int] | None = None, reason: str | None = "enough") -> None:
        request_cancel(self.state, reason, items)
        self.turn()

    def stop(self, reason: str) -> None:
        self.state.stop(reason)
        self.turn()

    def end_grace(self) -> None:
        end_grace(self.state)
        self.turn()

    def finish(self, outcome: Outcome = b"1") -> None:
        """Seals, answers and commits until nothing is left."""
        if not self.state.facts.progress.sealed:
            self.append([], sealed=True)
        for _ in range(1000):
            self.commit_all()
            self.unpause()
            for entry in self.suspended():
                self.resume(*entry)
            self.commit_all()
            self.answer_all(outcome)
            self.pass_time()
            if self.state.facts.is_terminal and not self.state.events:
                return
        raise AssertionError(f"the run does not end: {self.state.facts.progress}")

    # --- what can be seen ---

    @property
    def progress(self) -> RunProgress:
        return self.state.facts.progress

    @property
    def live(self) -> list[int]:
        return sorted(self.state.facts.live)

    @property
    def journal(self) -> list[AnyEvent]:
        return drive(read_journal(self.store, RUN))

    @property
    def results(self) -> dict[int, tuple[ItemRef, AnyEvent]]:
        """How items ended, by index, and the events that the result chunks name; as of the last commit."""
        journal = self.journal
        return {
            number * SEGMENT_ITEMS + position: (ItemRef(ref & 3), journal[(ref >> 2) - 1])
            for number in range(self.progress.total // SEGMENT_ITEMS + 1)
            for chunk in drive(self.store.chunks(RUN, number, number))
            for position, ref in enumerate(decode_refs(chunk.refs))
            if ref & 3
        }

    def check_folds(self) -> None:
        """What is in memory is what the whole journal says, and what its last snapshot and tail say."""
        assert not self.state.events, "commit first"
        here = describe_facts(self.state.facts)
        assert describe_facts(drive(fold_all(self.store, RUN))) == here
        loaded = drive(load_facts(self.store, RUN))
        assert describe_facts(loaded) == here
        assert open_chunks(loaded.results) == open_chunks(self.state.facts.results)

    @property
    def durable_status(self) -> RunStatus | None:
        record = drive(self.store.run(RUN))
        return None if record is None else record.progress.status

    def spans(self) -> Iterable[int]:
        """How many items had ended before each row of the journal, counted and as it says."""
        ended = 0
        for row in drive(self.store.journal(RUN, 1, 1_000_000)):
            assert row.completions_before == ended
            yield ended
            ended += sum(map(completions, decode_events(row.events)))

    def committed_steps(self) -> set[tuple[int, str]]:
        return {(event.item, event.step) for event in self.journal if isinstance(event, (StepSucceeded, StepFailed))}


def open_chunks(results: Any) -> dict[int, bytes]:
    return {number: refs.tobytes() for number, refs in results._refs.items()}
