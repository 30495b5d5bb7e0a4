"""What a run decides: which items start, what follows from answers, and how it ends."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from protocol.errors import ItemErrorCode
from protocol.runs import RunState as RunStatus
from stepflow_runtime.engine.run_state import ALONE_AFTER, FAILURE_POLICY, RUN_TIMEOUT
from stepflow_runtime.engine.snapshot import take_snapshot
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.outcome import Displaced, Failure
from stepflow_runtime.ports import ItemRef
from tests.stepflow_runtime.engine.bench import Bench
from tests.stepflow_runtime.engine.world import BOOM, CANCELLED, CHAIN, DIAMOND, GONE, ONE, flow, ref, step

RETRIED = flow(step("a", onError={"action": "retry", "maxRetries": 2}))
DEFAULTED = flow(step("a", onError={"action": "useDefault", "defaultValue": 7}))


def how(bench: Bench) -> dict[int, ItemRef]:
    bench.commit_all()
    return {index: ref for index, (ref, _) in bench.results.items()}


def test_a_run_that_nobody_holds_is_gone_without_the_collector() -> None:
    bench = Bench(ONE, range(3))
    bench.commit()
    state = weakref.ref(bench.state)
    gc.disable()
    try:
        del bench
        assert state() is None
    finally:
        gc.enable()


# --- items start ---


def test_items_start_by_index_and_fill_every_slot() -> None:
    bench = Bench(ONE, range(10), max_concurrency=3)
    bench.commit()
    assert [item for item, _, _ in bench.dispatched] == [0, 1, 2]
    bench.answer((1, "a", 1))
    bench.commit()
    assert bench.live == [0, 2, 3]
    assert bench.dispatched[-1] == (3, "a", 1)


def test_nothing_is_dispatched_before_its_start_is_durable() -> None:
    bench = Bench(ONE, range(3))
    assert not bench.dispatched
    bench.commit()
    assert len(bench.dispatched) == 3


def test_within_the_durable_window_the_next_item_is_dispatched_at_once() -> None:
    bench = Bench(ONE, range(100), max_concurrency=2)
    bench.commit()
    bench.answer((0, "a", 1))
    assert bench.dispatched[-1] == (2, "a", 1)


def test_a_waiting_item_holds_its_slot_and_an_ended_one_gives_it_back() -> None:
    bench = Bench(RETRIED, range(3), max_concurrency=1)
    bench.commit()
    bench.answer((0, "a", 1), BOOM)
    bench.commit()
    assert bench.live == [0]
    bench.finish()
    assert bench.progress.success == 3


@pytest.mark.parametrize("items", [0, 1, 2500])
def test_a_flow_without_steps_gives_every_item_its_result(items: int) -> None:
    bench = Bench({"steps": [], "output": {"$input": "$"}}, range(items), max_concurrency=2)
    bench.finish()
    assert bench.progress.success == items
    assert len(bench.results) == items


def test_no_inputs_are_a_success_at_once() -> None:
    bench = Bench(ONE, [])
    bench.commit()
    assert bench.progress.status is RunStatus.SUCCESS
    assert bench.progress.started_at_ms == bench.progress.completed_at_ms


def test_more_slots_than_memory_holds_inputs_are_filled_all_the_same() -> None:
    bench = Bench(ONE, range(9000), max_concurrency=6000)
    bench.commit_all()
    assert len(bench.in_flight) == 6000
    bench.finish()
    assert bench.progress.success == 9000


# --- steps ---


def test_a_chain_runs_step_after_step_and_each_start_is_durable() -> None:
    bench = Bench(CHAIN, [5])
    bench.commit()
    for name in "abc":
        assert list(bench.in_flight) == [(0, name, 1)]
        bench.answer((0, name, 1), b'"%b"' % name.encode())
        bench.commit()
    assert bench.progress.status is RunStatus.SUCCESS
    event = bench.results[0][1]
    assert isinstance(event, ev.StepSucceeded)
    assert bytes(event.value) == b'"c"'


def test_a_diamond_is_joined_once() -> None:
    bench = Bench(DIAMOND, [5])
    bench.commit()
    bench.answer((0, "top", 1))
    bench.commit()
    assert sorted(bench.in_flight) == [(0, "left", 1), (0, "right", 1)]
    bench.answer((0, "right", 1), b"2")
    bench.answer((0, "left", 1), b"1")
    bench.commit()
    event = bench.results[0][1]
    assert isinstance(event, ev.ItemSucceeded)
    assert bytes(event.value) == b'{"l":1,"r":2}'


def test_a_must_execute_step_runs_though_nobody_looks_at_it() -> None:
    bench = Bench(flow(step("log", mustExecute=True), step("a"), output=ref("a")), [1])
    bench.commit()
    bench.answer((0, "a", 1))
    bench.commit()
    assert bench.live == [0]
    bench.answer((0, "log", 1))
    assert how(bench) == {0: ItemRef.SUCCESS}


def test_a_default_stands_in_for_a_failed_output() -> None:
    bench = Bench(DEFAULTED, [1])
    bench.commit()
    bench.answer((0, "a", 1), BOOM)
    bench.commit()
    event = bench.results[0][1]
    assert isinstance(event, ev.ItemSucceeded)
    assert bytes(event.value) == b"7"


@pytest.mark.parametrize("executed", [ONE, CHAIN], ids=["one step", "several"])
def test_answers_that_come_together_have_come_one_after_the_other(executed: dict[str, Any]) -> None:
    together, apart = Bench(executed, range(5)), Bench(executed, range(5))
    for bench in (together, apart):
        bench.commit()
    places = [(3, "a", 1), (0, "a", 1), (4, "a", 1)]
    assert together.succeed(*places) == 3
    for place in places:
        assert apart.answer(place)
    assert together.state.events == apart.state.events
    assert take_snapshot(together.state.facts) == take_snapshot(apart.state.facts)
    assert together.results == apart.results


def test_of_answers_that_come_together_the_late_ones_change_nothing() -> None:
    bench = Bench(ONE, range(4))
    bench.commit()
    bench.answer((0, "a", 1), GONE)
    bench.answer((1, "a", 1))
    assert bench.succeed((0, "a", 1), (1, "a", 1), (2, "a", 1)) == 1
    bench.commit()
    assert how(bench) == {1: ItemRef.SUCCESS, 2: ItemRef.SUCCESS}


def test_an_input_that_does_not_fit_its_schema_fails_its_item_alone() -> None:
    bench = Bench(flow(step("a"), inputSchema={"type": "integer"}), [1, "two", 3])
    bench.finish()
    assert how(bench) == {0: ItemRef.SUCCESS, 1: ItemRef.FAILED, 2: ItemRef.SUCCESS}
    event = bench.results[1][1]
    assert isinstance(event, ev.ItemFailed)
    assert event.error.code == ItemErrorCode.INVALID_INPUT
    assert all(item != 1 for item, _, _ in bench.dispatched)


def test_a_failed_input_fails_the_step_that_it_was_for() -> None:
    bench = Bench(flow(step("a"), step("b", {"$step": "a", "path": "missing"})), [1])
    bench.commit()
    bench.answer((0, "a", 1), b"{}")
    assert how(bench) == {0: ItemRef.FAILED}
    failed = [event for event in bench.journal if isinstance(event, ev.StepFailed)]
    assert [(event.step, event.attempt, event.error.code) for event in failed] == [("b", 0, "EXPRESSION_FAILURE")]


# --- answers that come late ---


@pytest.mark.parametrize("outcome", [b"2", BOOM, GONE])
def test_an_answer_of_an_older_attempt_changes_nothing(outcome: Any) -> None:
    bench = Bench(RETRIED, [1])
    bench.commit()
    bench.answer((0, "a", 1), BOOM)
    bench.commit()
    assert not bench.answer((0, "a", 1), outcome)
    assert not bench.state.events
    bench.pass_time()
    assert list(bench.in_flight) == [(0, "a", 2)]
    assert not bench.answer((0, "a", 1), outcome)
    assert bench.answer((0, "a", 2))
    assert how(bench) == {0: ItemRef.SUCCESS}
    assert not bench.answer((0, "a", 2), outcome)
    assert not bench.state.events


# --- retries ---


def test_two_budgets_share_one_attempt_counter() -> None:
    bench = Bench(RETRIED, [1])
    bench.commit()
    failures = [BOOM, GONE, BOOM, GONE, GONE]
    for attempt, failure in enumerate(failures, 1):
        assert list(bench.in_flight) == [(0, "a", attempt)]
        bench.answer((0, "a", attempt), failure)
        bench.commit()
        bench.pass_time()
    assert list(bench.in_flight) == [(0, "a", 6)]
    bench.answer((0, "a", 6), BOOM)  # the third of the component, which may be retried twice
    assert how(bench) == {0: ItemRef.FAILED}


def test_the_transport_is_retried_three_times_also_without_on_error() -> None:
    bench = Bench(ONE, [1])
    for _ in range(4):
        bench.commit()
        bench.pass_time()
        bench.answer_all(GONE)
    assert how(bench) == {0: ItemRef.FAILED}
    assert [attempt for _, _, attempt in bench.dispatched] == [1, 2, 3, 4]


def test_a_server_that_gives_way_to_another_costs_no_retries() -> None:
    bench = Bench(ONE, [1])
    for _ in range(5):
        bench.commit()
        bench.pass_time()
        bench.answer_all(Displaced("its file changed"))
    for _ in range(3):
        bench.commit()
        bench.pass_time()
        bench.answer_all(GONE)
    bench.commit()
    bench.pass_time()
    bench.answer((0, "a", 9))
    assert how(bench) == {0: ItemRef.SUCCESS}


def test_what_is_cancelled_does_not_go_again_at_another_server() -> None:
    bench = Bench(ONE, [1])
    bench.commit()
    bench.cancel()
    bench.answer((0, "a", 1), Displaced("its file changed"))
    assert how(bench) == {0: ItemRef.CANCELLED}


@pytest.mark.parametrize("code", ["INVALID_INPUT", "COMPONENT_NOT_FOUND", "CANCELLED", "LIMIT_EXCEEDED", "INTERNAL"])
def test_what_cannot_get_better_is_not_retried(code: str) -> None:
    bench = Bench(RETRIED, [1])
    bench.commit()
    bench.answer((0, "a", 1), Failure(code, "no"))
    assert how(bench) == {0: ItemRef.FAILED}


def test_after_two_transport_failures_a_step_goes_alone() -> None:
    bench = Bench(ONE, [1])
    alone: list[bool] = []
    for _ in range(4):
        bench.commit()
        bench.pass_time()
        alone.extend(execute.alone for execute in bench.in_flight.values())
        bench.answer_all(GONE)
    assert alone == [False, False, True, True]
    assert alone.index(True) == ALONE_AFTER


def test_a_retry_begins_when_it_is_due_and_not_before_it_is_durable() -> None:
    bench = Bench(RETRIED, [1])
    bench.commit()
    bench.answer((0, "a", 1), BOOM)
    bench.pass_time()
    assert not bench.in_flight
    bench.commit()
    assert not bench.in_flight
    bench.pass_time()
    assert list(bench.in_flight) == [(0, "a", 2)]


# --- failure policies and time ---


def test_fail_fast_cancels_the_rest() -> None:
    bench = Bench(ONE, range(10), max_concurrency=2, max_failures=0)
    bench.commit()
    bench.answer((0, "a", 1))
    bench.answer((1, "a", 1), BOOM)
    assert how(bench) == {0: ItemRef.SUCCESS, 1: ItemRef.FAILED, **dict.fromkeys(range(2, 10), ItemRef.CANCELLED)}
    assert bench.progress.status is RunStatus.FAILED
    assert bench.progress.cancel_reason == FAILURE_POLICY
    assert not bench.in_flight


def test_so_many_failures_as_are_borne_stop_nothing() -> None:
    bench = Bench(ONE, range(10), max_concurrency=2, max_failures=2)
    bench.commit()
    for item in range(2):
        bench.answer((item, "a", 1), BOOM)
    assert not bench.state.is_stopping
    bench.commit()
    bench.answer((2, "a", 1), BOOM)
    bench.commit()
    assert (bench.progress.failed, bench.progress.cancelled) == (3, 7)


@pytest.mark.parametrize("bearable", [0, 1])
def test_items_that_fail_as_they_start_strike_at_once(bearable: int) -> None:
    bench = Bench(flow(step("a", {"$input": "x"})), [{}] * 5, max_failures=bearable)
    bench.commit()
    assert (bench.progress.failed, bench.progress.cancelled) == (bearable + 1, 4 - bearable)
    assert bench.progress.status is RunStatus.FAILED
    bench.check_folds()


def test_a_run_that_lasts_too_long_fails_with_what_was_left_cancelled() -> None:
    bench = Bench(ONE, range(5), max_concurrency=2)
    bench.commit()
    bench.answer((0, "a", 1))
    bench.stop(RUN_TIMEOUT)
    bench.commit()
    assert (bench.progress.status, bench.progress.success, bench.progress.cancelled) == (RunStatus.FAILED, 1, 4)
    assert bench.progress.cancel_reason == RUN_TIMEOUT
    assert not bench.in_flight


# --- cancellation ---


def test_cancelling_ends_what_has_not_started_and_asks_what_has() -> None:
    bench = Bench(ONE, range(10), max_concurrency=2)
    bench.commit()
    bench.cancel()
    bench.commit()
    assert bench.asked == [(0, "a", 1), (1, "a", 1)]
    assert (bench.progress.status, bench.progress.cancelled) == (RunStatus.RUNNING, 8)
    bench.answer((0, "a", 1))
    bench.answer((1, "a", 1), CANCELLED)
    assert how(bench)[0] is ItemRef.SUCCESS
    assert bench.progress.status is RunStatus.CANCELLED


def test_after_the_grace_nothing_is_waited_for() -> None:
    bench = Bench(ONE, range(3))
    bench.commit()
    bench.cancel()
    bench.commit()
    bench.end_grace()
    bench.commit()
    assert (bench.progress.status, bench.progress.cancelled) == (RunStatus.CANCELLED, 3)
    assert not bench.in_flight
    assert not bench.answer((0, "a", 1))


def test_a_run_all_of_whose_results_came_in_the_grace_is_a_success() -> None:
    bench = Bench(ONE, range(2))
    bench.commit()
    bench.cancel()
    bench.answer_all()
    bench.commit()
    assert bench.progress.status is RunStatus.SUCCESS


def test_a_cancelled_item_begins_no_further_step() -> None:
    bench = Bench(CHAIN, [1])
    bench.commit()
    bench.cancel()
    bench.answer((0, "a", 1))
    assert how(bench) == {0: ItemRef.CANCELLED}
    assert [place[1] for place in bench.dispatched] == ["a"]


def test_an_item_that_waits_for_its_retry_is_cancelled_at_once() -> None:
    bench = Bench(RETRIED, [1])
    bench.commit()
    bench.answer((0, "a", 1), BOOM)
    bench.commit()
    bench.cancel()
    bench.commit()
    assert bench.progress.status is RunStatus.CANCELLED
    bench.pass_time()
    assert not bench.in_flight


def test_single_items_are_cancelled_wherever_they_are() -> None:
    bench = Bench(ONE, range(6), max_concurrency=2)
    bench.commit()
    bench.answer((0, "a", 1))
    bench.cancel([0, 1, 4])  # ended, live, pending
    bench.answer((1, "a", 1), CANCELLED)
    bench.finish()
    ended = how(bench)
    assert [index for index, ref in ended.items() if ref is ItemRef.CANCELLED] == [1, 4]
    reasons = [event.reason for event in bench.journal if isinstance(event, ev.ItemCancelled)]
    assert reasons == ["enough", "enough"]
    assert all(item != 4 for item, _, _ in bench.dispatched)
    assert bench.progress.status is RunStatus.CANCELLED


def test_so_many_items_cancelled_in_a_row_as_memory_holds_do_not_stop_the_run() -> None:
    bench = Bench(ONE, range(7000), max_concurrency=10)
    bench.commit()
    bench.cancel(range(10, 6000))
    bench.finish()
    assert (bench.progress.success, bench.progress.cancelled) == (1010, 5990)


def test_what_was_cancelled_alone_is_not_cancelled_again_with_the_run() -> None:
    bench = Bench(ONE, range(12), max_concurrency=2)
    bench.commit()
    bench.cancel([3, 5, 11])
    bench.commit()
    for _ in range(3):
        bench.cancel()
        bench.commit()
    bench.check_folds()
    bench.end_grace()
    bench.commit()
    assert sum(map(ev.completions, bench.journal)) == bench.progress.cancelled == 12
    assert len(bench.results) == 12


def test_an_ended_run_hears_of_no_cancellation() -> None:
    bench = Bench(ONE, [1])
    bench.finish()
    bench.cancel()
    bench.stop(RUN_TIMEOUT)
    bench.end_grace()
    assert not bench.state.events


# --- open runs ---


def test_an_open_run_goes_on_with_what_is_appended_and_ends_when_it_is_sealed() -> None:
    bench = Bench(ONE, range(2), sealed=False)
    bench.commit()
    bench.answer_all()
    bench.commit()
    assert bench.progress.status is RunStatus.RUNNING
    bench.append(range(3))
    bench.commit()
    assert [item for item, _, _ in bench.in_flight] == [2, 3, 4]
    bench.answer_all()
    bench.append([], sealed=True)
    bench.commit()
    assert (bench.progress.status, bench.progress.total) == (RunStatus.SUCCESS, 5)


def test_cancelling_an_open_run_seals_it() -> None:
    bench = Bench(ONE, [], sealed=False)
    bench.commit()
    bench.cancel()
    bench.commit()
    assert bench.progress.sealed
    assert bench.progress.status is RunStatus.CANCELLED


# --- restarts ---


def test_a_cancellation_that_was_asked_for_outlives_the_runtime() -> None:
    bench = Bench(ONE, range(3))
    bench.commit()
    bench.cancel([1])
    bench.commit()
    bench.restart()
    bench.finish()
    assert {index: ref for index, ref in how(bench).items() if ref is not ItemRef.SUCCESS} == {1: ItemRef.CANCELLED}


def test_what_was_in_flight_goes_again_as_the_next_attempt_and_costs_no_budget() -> None:
    bench = Bench(RETRIED, range(2))
    bench.commit()
    for _ in range(5):
        bench.restart()
        bench.commit()
        bench.pass_time()
    assert bench.dispatched[-2:] == [(0, "a", 6), (1, "a", 6)]
    for attempt in (6, 7):
        bench.answer((0, "a", attempt), BOOM)
        bench.commit()
        bench.pass_time()
    assert (0, "a", 8) in bench.in_flight


def test_no_attempt_is_made_twice_when_the_clock_is_set_back_over_a_restart() -> None:
    bench = Bench(RETRIED, [0])
    bench.commit()
    bench.answer((0, "a", 1), BOOM)
    bench.commit()
    bench.pass_time()
    assert (0, "a", 2) in bench.in_flight
    bench.now_ms -= 3_600_000
    bench.restart()
    bench.commit()
    bench.pass_time(3_700_000)
    assert bench.dispatched == [(0, "a", 1), (0, "a", 2), (0, "a", 3)]


def test_an_item_that_began_in_a_lost_window_begins_with_the_next_attempt() -> None:
    bench = Bench(ONE, range(40), max_concurrency=2)
    bench.commit()
    bench.answer((0, "a", 1))  # item 2 is dispatched, and nothing of that is durable
    assert bench.dispatched[-1] == (2, "a", 1)
    bench.restart()
    bench.commit()
    bench.pass_time()
    bench.answer_all()
    bench.commit()
    assert (2, "a", 2) in bench.dispatched
    bench.finish()
    assert bench.dispatched[-1] == (39, "a", 1)
