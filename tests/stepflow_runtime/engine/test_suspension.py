"""What suspensions and sleeps do to a run: who holds a slot, what goes on and with what, and how it ends."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from protocol.runs import RunState as RunStatus
from stepflow_runtime.engine.facts import RunFacts
from stepflow_runtime.engine.folds import fold
from stepflow_runtime.engine.items import summarize
from stepflow_runtime.engine.snapshot import take_snapshot
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.outcome import Failure, Resume, Suspension
from stepflow_runtime.ports import ItemRef
from tests.stepflow_runtime.engine.bench import Bench
from tests.stepflow_runtime.engine.world import BOOM, CHAIN, DIAMOND, GONE, ONE, flow, ref, step

ASK = Suspension(payload=b'"may I?"')
DEFAULTED = flow(step("a", onError={"action": "useDefault", "defaultValue": 7}), step("b", ref("a")))

BESIDE = flow(step("left"), step("right"), output={"l": ref("left"), "r": ref("right")})


def sleep_until(until_ms: int) -> Suspension:
    return Suspension(until_ms=until_ms)


def status(bench: Bench) -> RunStatus:
    return bench.progress.status


def make_suspended(flow: dict[str, Any] = ONE, items: int = 1, suspension: Suspension = ASK, **options: Any) -> Bench:
    """A run of which every item waits in its first step."""
    bench = Bench(flow, range(items), **options)
    bench.commit_all()
    while bench.in_flight:
        bench.answer(next(iter(bench.in_flight)), suspension)
        bench.commit_all()
    return bench


def test_a_suspended_step_is_executed_again_with_what_it_was_resumed_with() -> None:
    bench = make_suspended()
    assert not bench.in_flight
    assert status(bench) is RunStatus.SUSPENDED
    ((item, name, seq),) = bench.suspended()
    assert bench.resume(item, name, seq, b'{"yes":true}')
    assert status(bench) is RunStatus.RUNNING
    bench.commit_all()
    (command,) = bench.in_flight.values()
    assert command.attempt == 2
    assert command.resumes == (Resume("1", b'{"yes":true}'),)
    bench.finish()
    assert status(bench) is RunStatus.SUCCESS


def test_several_suspensions_of_a_component_follow_on_each_other() -> None:
    bench = make_suspended()
    for number in range(1, 4):
        ((item, name, seq),) = bench.suspended()
        assert bench.resume(item, name, seq, b"%d" % number, label=str(number))
        bench.commit_all()
        (command,) = bench.in_flight.values()
        assert command.attempt == number + 1
        assert command.resumes == tuple(Resume(str(n), b"%d" % n) for n in range(1, number + 1))
        if number < 3:
            bench.answer((0, "a", number + 1), ASK)
            bench.commit_all()
    labels = [event.label for event in bench.journal if isinstance(event, ev.StepSuspended)]
    assert labels == ["1", "2", "3"]


def test_suspended_items_give_their_slots_back_and_resumed_ones_wait_for_one() -> None:
    bench = Bench(ONE, range(5), max_concurrency=2)
    bench.commit_all()
    bench.answer((0, "a", 1), ASK)
    bench.answer((1, "a", 1), ASK)
    bench.commit_all()
    assert bench.live == [2, 3]
    assert bench.progress.suspended == 2
    for item, name, seq in bench.suspended():
        assert bench.resume(item, name, seq)
    bench.commit_all()
    assert bench.live == [2, 3]
    assert bench.progress.pending == 3
    bench.answer((2, "a", 1))
    bench.commit_all()
    assert bench.live == [0, 3], "what was resumed goes before what has not begun"
    bench.finish()
    assert bench.progress.success == 5


def test_what_is_resumed_while_its_item_is_read_goes_on_too() -> None:
    bench = make_suspended(BESIDE)
    left, right = bench.suspended()
    assert bench.resume(*left, data=b"1")
    bench.load_items(meanwhile=lambda: bench.resume(*right, data=b"2"))
    bench.commit_all()
    assert {place: command.resumes for place, command in bench.in_flight.items()} == {
        (0, "left", 2): (Resume("1", b"1"),),
        (0, "right", 2): (Resume("1", b"2"),),
    }
    bench.finish()
    bench.check_folds()


def test_of_two_resumes_one_wins() -> None:
    bench = make_suspended()
    ((item, name, seq),) = bench.suspended()
    assert bench.resume(item, name, seq)
    assert not bench.resume(item, name, seq)
    bench.commit_all()
    assert not bench.resume(item, name, seq)
    bench.answer((0, "a", 2), ASK)
    bench.commit_all()
    assert not bench.resume(item, name, seq), "a resume is of one suspension, not of the next one"
    assert len(bench.suspended()) == 1
    assert status(bench) is RunStatus.SUSPENDED, "and it changes nothing"


def test_of_two_resumes_one_wins_also_while_another_step_of_the_item_works() -> None:
    bench = Bench(DIAMOND, range(1))
    bench.commit_all()
    bench.answer((0, "top", 1))
    bench.commit_all()
    bench.answer((0, "left", 1), ASK)
    bench.commit_all()
    ((item, name, seq),) = bench.suspended()
    assert bench.resume(item, name, seq)
    assert not bench.resume(item, name, seq)
    bench.commit_all()
    bench.answer((0, "left", 2), ASK)
    bench.commit_all()
    assert not bench.resume(item, name, seq), "a resume is of one suspension, not of the next one"
    ((item, name, seq),) = bench.suspended()
    assert bench.resume(item, name, seq)


def test_a_late_answer_of_a_suspended_attempt_changes_nothing() -> None:
    bench = Bench(flow(step("a"), step("b"), output={"a": ref("a"), "b": ref("b")}), range(1))
    bench.commit_all()
    bench.answer((0, "a", 1), ASK)
    recorded = len(bench.state.events)
    assert not bench.answer((0, "a", 1), b"1")
    assert len(bench.state.events) == recorded


def test_a_step_that_waits_beside_one_that_works_is_resumed_at_once() -> None:
    bench = Bench(DIAMOND, range(1))
    bench.commit_all()
    bench.answer((0, "top", 1))
    bench.commit_all()
    bench.answer((0, "left", 1), ASK)
    bench.commit_all()
    assert bench.live == [0]
    assert status(bench) is RunStatus.RUNNING
    ((item, name, seq),) = bench.suspended()
    assert bench.resume(item, name, seq)
    bench.commit_all()
    assert set(bench.in_flight) == {(0, "left", 2), (0, "right", 1)}
    bench.finish()
    assert bench.progress.success == 1


def test_an_item_gives_its_slot_back_when_the_last_of_it_that_works_has_ended() -> None:
    bench = Bench(DIAMOND, range(1))
    bench.commit_all()
    bench.answer((0, "top", 1))
    bench.commit_all()
    bench.answer((0, "left", 1), ASK)
    bench.commit_all()
    bench.answer((0, "right", 1), b"5")
    bench.commit_all()
    assert not bench.live
    assert status(bench) is RunStatus.SUSPENDED
    ((item, name, seq),) = bench.suspended()
    assert bench.resume(item, name, seq)
    bench.commit_all()
    bench.answer((0, "left", 2), b"4")
    bench.commit_all()
    ((_, event),) = bench.results.values()
    assert isinstance(event, ev.ItemSucceeded)
    assert msgspec.json.decode(event.value) == {"l": 4, "r": 5}


@pytest.mark.parametrize("restarts", [0, 3])
def test_a_suspension_survives_restarts(restarts: int) -> None:
    bench = make_suspended(CHAIN, 3)
    for _ in range(restarts):
        bench.restart()
        bench.commit_all()
    assert not bench.in_flight
    for number, (item, name, seq) in enumerate(bench.suspended()):
        assert bench.resume(item, name, seq, b"%d" % number)
        if number == 1 and restarts:
            bench.commit_all()
            bench.restart()
    bench.commit_all()
    bench.pass_time()
    assert {command.item: command.resumes[0].data for command in bench.in_flight.values()} == {
        0: b"0",
        1: b"1",
        2: b"2",
    }
    bench.finish()
    assert bench.progress.success == 3


def test_resumes_are_no_retries() -> None:
    retried = flow(step("a", onError={"action": "retry", "maxRetries": 1}))
    bench = make_suspended(retried)
    ((item, name, seq),) = bench.suspended()
    assert bench.resume(item, name, seq, b"1")
    bench.commit_all()
    bench.answer((0, "a", 2), BOOM)
    bench.commit_all()
    bench.pass_time()
    (command,) = bench.in_flight.values()
    assert (command.attempt, command.resumes) == (3, (Resume("1", b"1"),))
    bench.answer((0, "a", 3), GONE)
    bench.commit_all()
    bench.pass_time()
    bench.answer((0, "a", 4), BOOM)
    bench.commit_all()
    assert bench.progress.failed == 1


# --- time ---


def test_a_suspension_that_nobody_ends_in_time_fails_its_step_for_good() -> None:
    bench = make_suspended(suspension=Suspension(timeout_ms=5000))
    bench.pass_time(4999)
    bench.commit_all()
    assert status(bench) is RunStatus.SUSPENDED
    bench.pass_time(1)
    bench.commit_all()
    ((how, event),) = bench.results.values()
    assert how is ItemRef.FAILED
    assert isinstance(event, ev.ItemFailed)
    assert event.error.code == "TIMEOUT"


def test_the_default_of_a_step_stands_in_for_an_answer_that_did_not_come() -> None:
    bench = make_suspended(DEFAULTED, suspension=Suspension(timeout_ms=5000))
    bench.pass_time(5000)
    bench.commit_all()
    ((item, name, _),) = bench.in_flight
    assert (item, name) == (0, "b")
    assert next(iter(bench.in_flight.values())).input == b"7"


def test_what_was_resumed_is_not_given_up_later() -> None:
    bench = make_suspended(suspension=Suspension(timeout_ms=5000))
    ((item, name, seq),) = bench.suspended()
    assert bench.resume(item, name, seq)
    bench.commit_all()
    bench.pass_time(10_000)
    bench.commit_all()
    assert list(bench.in_flight) == [(0, "a", 2)]


@pytest.mark.parametrize("restart", [False, True])
def test_a_sleeping_item_holds_no_slot_and_goes_on_when_it_is_time(restart: bool) -> None:
    bench = Bench(ONE, range(2), max_concurrency=1)
    bench.commit_all()
    bench.answer((0, "a", 1), sleep_until(bench.now_ms + 5000))
    bench.commit_all()
    assert bench.live == [1]
    assert bench.progress.sleeping == 1
    bench.answer((1, "a", 1))
    bench.commit_all()
    assert status(bench) is RunStatus.RUNNING
    if restart:
        bench.restart()
        bench.commit_all()
    bench.pass_time(4999)
    bench.commit_all()
    assert not bench.in_flight
    bench.pass_time(1)
    bench.commit_all()
    (command,) = bench.in_flight.values()
    assert command.resumes == (Resume("1", b"null"),)
    bench.finish()
    assert bench.progress.success == 2


def test_sleepers_whose_time_has_come_wait_for_slots() -> None:
    bench = make_suspended(items=6, suspension=sleep_until(2000), max_concurrency=2)
    assert bench.progress.sleeping == 6
    bench.pass_time(5000)
    bench.commit_all()
    assert len(bench.in_flight) == 2
    bench.answer_all()
    bench.commit_all()
    assert len(bench.in_flight) == 2
    bench.finish()
    assert bench.progress.success == 6


@pytest.mark.parametrize("restart", [False, True])
def test_woken_sleepers_go_on_before_their_time(restart: bool) -> None:
    bench = make_suspended(items=3, suspension=sleep_until(1_000_000))
    assert bench.wake_up() == 3
    assert bench.wake_up() == 0
    bench.commit_all()
    if restart:
        bench.restart()
        bench.commit_all()
        bench.pass_time()
    assert len(bench.in_flight) == 3
    bench.finish()


@pytest.mark.parametrize("stopped", [False, True])
def test_a_sleep_that_is_over_while_its_item_waits_for_a_slot_is_not_forgotten(stopped: bool) -> None:
    both = flow(step("ask"), step("doze"), output={"a": ref("ask"), "d": ref("doze")})
    bench = Bench(both, range(2), max_concurrency=1)
    bench.commit_all()
    bench.answer((0, "ask", 1), ASK)
    bench.answer((0, "doze", 1), sleep_until(1_000_000 if stopped else 2000))
    bench.commit_all()
    assert bench.live == [1]
    if stopped:
        assert bench.wake_up() == 1
    (waiting,) = bench.suspended()
    assert bench.resume(*waiting)
    bench.pass_time(5000)
    bench.commit_all()
    assert {place[0] for place in bench.in_flight} == {1}
    bench.answer((1, "ask", 1))
    bench.answer((1, "doze", 1))
    bench.commit_all()
    assert set(bench.in_flight) == {(0, "ask", 2), (0, "doze", 2)}


def test_a_sleeper_cannot_be_resumed_and_what_waits_cannot_be_woken() -> None:
    bench = make_suspended(suspension=sleep_until(1_000_000))
    ((item, name, seq),) = bench.suspended(sleeping=True)
    assert not bench.resume(item, name, seq)
    other = make_suspended()
    assert other.wake_up() == 0


# --- ends ---


def test_cancelling_ends_suspensions_and_sleeps() -> None:
    for suspension in (ASK, sleep_until(1_000_000)):
        bench = make_suspended(items=4, suspension=suspension)
        bench.cancel([1])
        bench.commit_all()
        assert bench.progress.cancelled == 1
        bench.cancel()
        bench.commit_all()
        assert status(bench) is RunStatus.CANCELLED
        assert bench.progress.cancelled == 4
        assert bench.progress.suspended == bench.progress.sleeping == 0
        bench.check_folds()


def test_many_parked_items_are_cancelled_by_one_event() -> None:
    bench = make_suspended(items=100)
    bench.cancel()
    bench.commit_all()
    assert bench.progress.cancelled == 100
    assert sum(isinstance(event, ev.ItemCancelled) for event in bench.journal) == 0
    assert {how for how, _ in bench.results.values()} == {ItemRef.CANCELLED}
    bench.check_folds()


def test_a_run_that_stops_ends_what_waits_and_what_was_resumed() -> None:
    bench = make_suspended(items=3, max_concurrency=1)
    (first, *_) = bench.suspended()
    assert bench.resume(*first)
    bench.stop("runTimeout")
    bench.commit_all()
    assert status(bench) is RunStatus.FAILED
    assert bench.progress.cancelled == 3
    bench.check_folds()


def test_a_step_that_suspends_while_it_is_cancelled_is_cancelled() -> None:
    bench = Bench(ONE, range(1))
    bench.commit_all()
    bench.cancel()
    bench.answer((0, "a", 1), ASK)
    bench.commit_all()
    assert status(bench) is RunStatus.CANCELLED


def test_another_item_that_fails_leaves_what_is_suspended() -> None:
    bench = Bench(ONE, range(2))
    bench.commit_all()
    bench.answer((0, "a", 1), ASK)
    bench.answer((1, "a", 1), Failure("INVALID_INPUT", "no"))
    bench.commit_all()
    assert status(bench) is RunStatus.SUSPENDED
    ((item, name, seq),) = bench.suspended()
    assert bench.resume(item, name, seq)
    bench.finish()
    assert status(bench) is RunStatus.FAILED


def test_an_open_run_of_which_all_that_waited_was_cancelled_is_suspended_no_more() -> None:
    bench = Bench(ONE, range(1), sealed=False)
    bench.commit_all()
    bench.answer((0, "a", 1), ASK)
    bench.commit_all()
    bench.cancel([0])
    assert status(bench) is RunStatus.RUNNING


def test_an_open_run_that_is_suspended_runs_when_items_are_added() -> None:
    bench = Bench(ONE, range(1), sealed=False)
    bench.commit_all()
    bench.answer((0, "a", 1), ASK)
    bench.commit_all()
    assert status(bench) is RunStatus.SUSPENDED
    bench.append([1], sealed=True)
    assert status(bench) is RunStatus.RUNNING


def test_parked_items_take_few_bytes_and_none_of_a_snapshot() -> None:
    facts = RunFacts()
    fold(facts, ev.RunAppended(20_000, True))
    fold(facts, ev.RunStarted())
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for index in range(20_000):
        fold(facts, ev.ItemsStarted(index, index, ("a",)))
        fold(facts, ev.StepSuspended(index, "a", 1, "1", Raw(b"null"), Raw(b"null")))
        item = facts.live[index]
        fold(facts, ev.ItemParked(index, ev.Parked.SUSPENDED, item.since, summarize(item)))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / 20_000 < 16
    assert len(take_snapshot(facts)) < 1000


# --- pause ---


def test_a_paused_run_begins_nothing_and_what_is_in_flight_ends() -> None:
    bench = Bench(CHAIN, range(4), max_concurrency=2)
    bench.commit_all()
    bench.pause()
    bench.commit_all()
    bench.answer_all()
    bench.commit_all()
    assert not bench.in_flight
    assert bench.live == [0, 1]
    bench.unpause()
    bench.commit_all()
    assert set(bench.in_flight) == {(0, "b", 1), (1, "b", 1)}
    bench.finish()
    assert bench.progress.success == 4


@pytest.mark.parametrize("answered", [False, True])
def test_a_pause_outlives_the_runtime(answered: bool) -> None:
    bench = Bench(CHAIN, range(4), max_concurrency=2)
    bench.commit_all()
    bench.pause()
    if answered:
        bench.answer_all()
    bench.commit_all()
    bench.restart()
    bench.commit_all()
    bench.pass_time()
    assert bench.progress.paused
    assert not bench.in_flight
    bench.unpause()
    bench.commit_all()
    bench.pass_time()
    assert {(item, name) for item, name, _ in bench.in_flight} == {
        (0, "b" if answered else "a"),
        (1, "b" if answered else "a"),
    }
    bench.finish()
    assert bench.progress.success == 4


def test_what_is_resumed_due_or_retried_while_a_run_is_paused_begins_afterwards() -> None:
    bench = Bench(flow(step("a", onError={"action": "retry"})), range(3))
    bench.commit_all()
    bench.answer((0, "a", 1), ASK)
    bench.answer((1, "a", 1), sleep_until(2000))
    bench.commit_all()
    bench.answer((2, "a", 1), BOOM)
    bench.commit_all()
    bench.pause()
    bench.pass_time(10_000)
    ((item, name, seq),) = bench.suspended()
    assert bench.resume(item, name, seq)
    bench.commit_all()
    assert not bench.in_flight
    bench.unpause()
    bench.commit_all()
    assert set(bench.in_flight) == {(0, "a", 2), (1, "a", 2), (2, "a", 2)}
