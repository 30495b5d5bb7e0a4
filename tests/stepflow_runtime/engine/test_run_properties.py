"""What holds whatever happens to a run, in any order, with commits and restarts at any moment."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.runs import RunState as RunStatus
from stepflow_runtime.engine.run_state import RUN_TIMEOUT
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import completions
from stepflow_runtime.model.outcome import Outcome, Suspension
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import SLEEPS, ItemRef
from tests.stepflow_runtime.engine.bench import Bench, Place
from tests.stepflow_runtime.engine.world import BOOM, CANCELLED, CHAIN, DIAMOND, GONE, ONE, flow, ref, step

FLOWS = (
    ONE,
    CHAIN,
    DIAMOND,
    flow(step("a", onError={"action": "retry"}), step("b", ref("a"), onError={"action": "useDefault"})),
    flow(step("a", {"$input": "x"}, onError={"action": "retry", "maxRetries": 1})),
    flow(step("log", mustExecute=True), output={"$input": "x"}),
    flow(step("a"), inputSchema={"type": "object", "required": ["x"]}),
)
OUTCOMES: tuple[Outcome, ...] = (b"1", b"1", b"null", BOOM, GONE, CANCELLED)
WAITS: tuple[Suspension, ...] = (
    Suspension(),
    Suspension(),
    Suspension(label="x", timeout_ms=20),
    Suspension(until_ms=1020),
    Suspension(until_ms=100_000),
)

numbers = st.integers(0, 30)
operations = st.one_of(
    st.tuples(st.just("answer"), numbers, st.sampled_from(OUTCOMES)),
    st.tuples(st.just("answer"), numbers, st.sampled_from(OUTCOMES)),
    st.tuples(st.just("answer"), numbers, st.sampled_from(WAITS)),
    st.tuples(st.just("resume"), numbers),
    st.tuples(st.just("late"), numbers, st.sampled_from([*OUTCOMES, *WAITS])),
    st.tuples(st.just("commit"), st.booleans()),
    st.tuples(st.just("commit"), st.booleans()),
    st.tuples(st.just("time"), st.sampled_from([1, 20, 60_000])),
    st.tuples(st.just("restart")),
    st.tuples(st.just("append"), st.integers(0, 4), st.booleans()),
    st.tuples(st.just("cancel items"), st.lists(numbers, min_size=1, max_size=6)),
    st.tuples(st.sampled_from(["cancel", "grace", "stop", "wake", "pause", "unpause", "unpause"])),
)
inputs = st.sampled_from([{"x": 1}, {"x": 1}, {"x": None}, {}])


def carry_out(bench: Bench, operation: tuple[Any, ...]) -> None:
    match operation:
        case ("answer", number, outcome) if bench.in_flight:
            bench.answer(list(bench.in_flight)[number % len(bench.in_flight)], outcome)
        case ("late", number, outcome) if bench.dispatched:
            place = bench.dispatched[number % len(bench.dispatched)]
            if place not in bench.in_flight:
                recorded = len(bench.state.events)
                assert not bench.answer(place, outcome), "a late answer counted"
                assert len(bench.state.events) == recorded
        case ("resume", number) if waiting := bench.suspended():
            entry = waiting[number % len(waiting)]
            if bench.resume(*entry):
                assert not bench.resume(*entry), "two resumes of one suspension counted"
        case ("wake",):
            bench.wake_up()
        case ("pause",):
            bench.pause()
        case ("unpause",):
            bench.unpause()
        case ("commit", snapshot):
            bench.commit(snapshot=snapshot)
        case ("time", ms):
            bench.pass_time(ms)
        case ("restart",):
            bench.restart()
        case ("append", count, sealed) if not bench.progress.sealed:
            bench.append([{"x": 2}] * count, sealed=sealed)
        case ("cancel items", items):
            chosen = [item for item in items if item < bench.progress.total]
            if chosen:
                bench.cancel(chosen)
        case ("cancel",):
            bench.cancel()
        case ("grace",):
            bench.end_grace()
        case ("stop",):
            bench.stop(RUN_TIMEOUT)
        case _:
            pass


def check_always(bench: Bench) -> None:
    facts, progress, slots = bench.state.facts, bench.progress, bench.spec.max_concurrency
    live = len(facts.live) + len(bench.state.waiting.loading)
    assert live <= slots, "maxConcurrency was passed"
    if not bench.state.events:
        assert {item for item, _, _ in bench.in_flight} <= facts.live.keys()
    parked = dict(facts.results.iterate_parked())
    sleeping = sum(1 for ref in parked.values() if ref & SLEEPS)
    assert (len(parked) - sleeping, sleeping) == (progress.suspended, progress.sleeping)
    assert not parked.keys() & {*facts.live, *facts.queued}
    assert len(facts.live) + len(facts.queued) + len(parked) + progress.completions <= progress.total
    waiting = progress.total - progress.completions - len(parked) - len(facts.live)
    waiting -= len(facts.queued.keys() & bench.state.waiting.loading.keys())
    if not bench.state.is_stopping and not progress.paused:
        assert live == slots or not waiting, "maxConcurrency was not used fully"
    is_suspended = progress.suspended > 0 and progress.suspended + progress.completions == progress.total
    if not facts.is_terminal and not bench.state.is_stopping:
        assert (progress.status is RunStatus.SUSPENDED) == is_suspended
    assert facts.is_terminal == (progress.sealed and progress.completions == progress.total)
    assert all(index > facts.next_item for index in facts.skipped)


def check_attempts(dispatched: list[Place]) -> None:
    attempts: dict[tuple[int, str], list[int]] = defaultdict(list)
    for item, name, attempt in dispatched:
        attempts[item, name].append(attempt)
    for place, numbers_seen in attempts.items():
        assert all(a < b for a, b in pairwise(numbers_seen)), (place, numbers_seen)


def check_results(bench: Bench) -> None:
    """Each item has exactly one result, and its reference leads to the event that ended it."""
    journal, progress = bench.journal, bench.progress
    ended = Counter[int]()
    for event in journal:
        match event:
            case ev.ItemsCancelled(first=first, last=last):
                ended.update(range(first, last + 1))
            case ev.StepSucceeded() if not completions(event):
                pass
            case ev.StepSucceeded(item=item) | ev.ItemSucceeded(item=item) | ev.ItemFailed(item=item):
                ended[item] += 1
            case ev.ItemCancelled(item=item):
                ended[item] += 1
            case _:
                pass
    assert ended == Counter(range(progress.total))
    assert sum(map(completions, journal)) == progress.total
    results = bench.results
    assert sorted(results) == list(range(progress.total))
    for index, (how, event) in results.items():
        match event:
            case ev.ItemsCancelled(first=first, last=last):
                assert how is ItemRef.CANCELLED
                assert first <= index <= last
            case ev.StepSucceeded(item=item) | ev.ItemSucceeded(item=item):
                assert (how, item) == (ItemRef.SUCCESS, index)
            case ev.ItemFailed(item=item):
                assert (how, item) == (ItemRef.FAILED, index)
            case ev.ItemCancelled(item=item):
                assert (how, item) == (ItemRef.CANCELLED, index)
            case _:
                raise AssertionError(f"{event} ends no item")
    by_kind = Counter(how for how, _ in results.values())
    assert by_kind[ItemRef.SUCCESS] == progress.success
    assert by_kind[ItemRef.FAILED] == progress.failed
    assert by_kind[ItemRef.CANCELLED] == progress.cancelled


def check_steps_end_once(bench: Bench) -> None:
    ended = Counter(
        (event.item, event.step) for event in bench.journal if isinstance(event, (ev.StepSucceeded, ev.StepFailed))
    )
    assert all(count == 1 for count in ended.values())


@settings(max_examples=300, deadline=None)
@given(
    which=st.sampled_from(FLOWS),
    items=st.lists(inputs, max_size=14),
    sealed=st.booleans(),
    slots=st.integers(1, 5),
    bearable=st.sampled_from([None, None, None, 0, 2]),
    script=st.lists(operations, max_size=40),
    last=st.sampled_from(OUTCOMES),
)
def test_a_run_keeps_its_promises(
    which: dict[str, Any],
    items: list[Any],
    sealed: bool,
    slots: int,
    bearable: int | None,
    script: list[tuple[Any, ...]],
    last: Outcome,
) -> None:
    bench = Bench(which, items, sealed=sealed, max_concurrency=slots, max_failures=bearable)
    terminal: RunStatus | None = None
    check_always(bench)
    bench.commit()
    for operation in script:
        ended_before = bench.committed_steps()
        dispatched_before = len(bench.dispatched)
        carry_out(bench, operation)
        again = {(item, name) for item, name, _ in bench.dispatched[dispatched_before:]} & ended_before
        assert not again, "a committed step was executed again"
        check_always(bench)
        check_attempts(bench.dispatched)
        if not bench.state.events:
            bench.check_folds()
        durable = bench.durable_status
        assert terminal is None or durable is terminal, "a terminal state changed"
        terminal = durable if durable in TERMINAL_RUN_STATES else None
    bench.finish(last)
    check_always(bench)
    check_attempts(bench.dispatched)
    check_results(bench)
    check_steps_end_once(bench)
    bench.check_folds()
    assert not bench.in_flight
    counted = list(bench.spans())
    assert counted == sorted(counted), "completions_before does not follow the rows"
