"""Guards against crashes, FAULTS 1 to 6."""

from __future__ import annotations

from typing import Final

from tests.guards.guard import Guard

CONNECT: Final = "tests/stepflow_runtime/connect"
UNCLEAN: Final = "tests/operations/test_unclean_stops.py"
ENGINE: Final = "tests/stepflow_runtime/engine"

CRASH: Final = (
    Guard(
        1,
        "what was in flight goes again as the next attempt",
        "stepflow_runtime/engine/attempts.py",
        "attempt = record.attempt + 1",
        "attempt = record.attempt",
        "tests/crash/test_crash_points.py::test_after_a_death_at_any_write_the_work_is_done_once[0-after]",
    ),
    Guard(
        1,
        "nothing begins before it is durable that it may have begun",
        "stepflow_runtime/engine/stretches.py",
        "commands = state.now if is_known else state.after",
        "commands = state.now",
        "tests/crash/test_crash_points.py::test_after_a_death_at_any_write_the_work_is_done_once[0-before]",
    ),
    Guard(
        2,
        "a sub-run has the same key in each attempt",
        "stepflow_runtime/services/submission.py",
        'return f"{content}/{ordinal}"',
        'return f"{content}/{ordinal}/{execution.attempt}"',
        "tests/crash/test_crash_points.py::test_after_a_death_at_any_write_the_work_is_done_once[0-after]",
    ),
    Guard(
        3,
        "what was in flight on a lost server is UNREACHABLE",
        "stepflow_runtime/connect/supervisor.py",
        "return Failure(ItemErrorCode.UNREACHABLE, how, dict(data) or UNSET)",
        "return Failure(ItemErrorCode.COMPONENT_FAILED, how, dict(data) or UNSET)",
        f"{CONNECT}/test_supervisor.py::test_a_lost_connection_fails_what_is_in_flight_at_once_and_only_once",
    ),
    Guard(
        3,
        "a lost server costs the transport's budget, not the component's",
        "stepflow_runtime/engine/folds.py",
        "record.transport_failures += 1",
        "record.component_failures += 1",
        f"{ENGINE}/test_run_state.py::test_two_budgets_share_one_attempt_counter",
    ),
    Guard(
        4,
        "a server has so long to answer `initialize`",
        "stepflow_runtime/connect/supervisor.py",
        "with trio.fail_after(self._initialize_timeout_s):",
        "with trio.CancelScope():",
        f"{CONNECT}/test_stdio.py::test_a_server_that_never_initializes_is_given_up_and_told_about",
    ),
    Guard(
        4,
        "pauses between starts grow",
        "stepflow_runtime/connect/keeper.py",
        "self._backoff.delay_s(failures, self._jitter())",
        "self._backoff.delay_s(1, self._jitter())",
        f"{CONNECT}/test_supervisor.py::test_pauses_between_attempts_grow_up_to_a_limit",
    ),
    Guard(
        5,
        "what has taken the runtime down too often is failed",
        "stepflow_runtime/engine/suspicion.py",
        "if item.stops < max_stops:",
        "if max_stops:",
        f"{UNCLEAN}::test_only_the_culprit_fails",
    ),
    Guard(
        5,
        "what may have taken the runtime down twice starts alone",
        "stepflow_runtime/engine/suspicion.py",
        "if item.stops + (item.index in suspects) >= ALONE_AFTER_STOPS or item.index in held_with",
        "if item.index in held_with",
        f"{UNCLEAN}::test_suspects_start_one_at_a_time",
    ),
    Guard(
        5,
        "who has its turn is not blamed for what goes on beside it",
        "stepflow_runtime/engine/suspicion.py",
        "return not was_alone and",
        "return False and",
        f"{UNCLEAN}::test_who_has_its_turn_is_spared_if_work_that_was_hardly_suspect_goes_on_beside_it",
    ),
    Guard(
        5,
        "where there is always other work a culprit is found",
        "stepflow_runtime/engine/suspicion.py",
        " and item.spared < max_stops",
        "",
        f"{UNCLEAN}::test_a_culprit_is_found_though_there_is_always_other_work",
    ),
    Guard(
        6,
        "a runtime that drains begins nothing",
        "stepflow_runtime/engine/executor.py",
        "state.start_items(begin=not self.is_draining and run.delay is None, now_ms=now_ms)",
        "state.start_items(begin=run.delay is None, now_ms=now_ms)",
        f"{ENGINE}/test_executor.py::test_a_runtime_that_drains_begins_no_item",
    ),
    Guard(
        6,
        "a server is killed with all that it started",
        "stepflow_runtime/connect/stdio.py",
        "os.killpg(self._popen.pid, number)",
        "os.kill(self._popen.pid, number)",
        f"{CONNECT}/test_stdio.py::test_a_process_that_does_not_stop_is_killed_with_its_children",
    ),
    Guard(
        6,
        "a start kills what a killed runtime left",
        "stepflow_runtime/connect/leftovers.py",
        "signal.pidfd_send_signal(descriptor, signal.SIGKILL)",
        "pass",
        "tests/operations/test_leftovers.py::test_the_next_start_kills_what_a_killed_runtime_left[False]",
    ),
)
