"""Guards of runs, large, nested and raced for, FAULTS 21 to 28."""

from __future__ import annotations

from typing import Final

from tests.guards.guard import Guard

CONNECT: Final = "tests/stepflow_runtime/connect"
ENGINE: Final = "tests/stepflow_runtime/engine"
SERVICES: Final = "tests/stepflow_runtime/services"

SCALE: Final = (
    Guard(
        21,
        "a run keeps a window of its inputs in memory",
        "stepflow_runtime/engine/inputs.py",
        "elif segment.first_index == self.end and len(self._values) < MAX_BUFFERED:",
        "elif segment.first_index == self.end:",
        f"{ENGINE}/test_executor.py::test_a_long_run_holds_a_window_of_its_inputs",
    ),
    Guard(
        22,
        "an execution that waits holds no slot",
        "stepflow_runtime/connect/in_flight.py",
        "    def park(self, execution: Execution) -> None:\n        self._server.load -= 1\n",
        "    def park(self, execution: Execution) -> None:\n        pass\n",
        f"{CONNECT}/test_pool.py::test_a_parked_execution_holds_no_slot",
    ),
    Guard(
        23,
        "runs nest only so deeply",
        "stepflow_runtime/services/submission.py",
        "if depth > limits.max_run_depth:",
        "if not limits.max_run_depth:",
        "tests/system/test_nested_runs.py::test_a_seventeenth_level_is_refused_and_the_parent_fails_cleanly",
    ),
    Guard(
        24,
        "a waiter whose client left is forgotten",
        "stepflow_runtime/store/watch.py",
        "    def forgotten(self) -> None:\n        self._hub.remove(self)\n",
        "    def forgotten(self) -> None:\n        return\n",
        "tests/system/test_leaving_clients.py::test_runs_go_on_when_who_waits_for_them_leaves_and_waiters_are_freed",
    ),
    Guard(
        25,
        "the database takes an idempotency key once",
        "stepflow_runtime/store/migrations/0001.sql",
        "CREATE UNIQUE INDEX runs_idempotency ",
        "CREATE INDEX runs_idempotency ",
        "tests/contracts/test_store_commit.py::test_of_two_equal_idempotency_keys_in_a_group_the_first_wins",
    ),
    Guard(
        26,
        "whoever cancels is told how the run ended, not what was asked for",
        "stepflow_runtime/services/cancelling.py",
        "    is_cancelled = progress is not None and progress.status is RunState.CANCELLED\n",
        "    is_cancelled = progress is not None\n",
        f"{SERVICES}/test_runs.py::test_of_an_end_and_a_cancellation_that_meet_one_wins_for_everybody",
    ),
    Guard(
        26,
        "a run that has ended hears of no cancellation",
        "stepflow_runtime/engine/cancellation.py",
        "    if state.facts.is_terminal:\n        return\n    if items is None:\n",
        "    if items is None:\n",
        f"{ENGINE}/test_run_state.py::test_an_ended_run_hears_of_no_cancellation",
    ),
    Guard(
        27,
        "a resume is of one suspension, and not of the next one",
        "stepflow_runtime/engine/suspension.py",
        "if record.waits.suspended != suspended or record.waits.sleeps:",
        "if record.waits.sleeps:",
        f"{ENGINE}/test_suspension.py::test_of_two_resumes_one_wins_also_while_another_step_of_the_item_works",
    ),
    Guard(
        27,
        "so it is also when the item has left memory",
        "stepflow_runtime/engine/suspension.py",
        "if not any(summary.id == step and summary.suspended == suspended for summary in parked.steps):",
        "if not parked.steps:",
        f"{ENGINE}/test_suspension.py::test_of_two_resumes_one_wins",
    ),
    Guard(
        27,
        "a request that is repeated resumes nothing more",
        "stepflow_runtime/services/suspensions.py",
        "return any(resumption.request_id == request_id for resumption in facts.resumptions)",
        "return False",
        f"{ENGINE}/test_waiting_runs.py::test_a_repeated_request_is_of_the_same_suspension",
    ),
    Guard(
        28,
        "the answer of an older attempt changes nothing",
        "stepflow_runtime/engine/run_state.py",
        "if item is None or record is None or record.attempt != attempt or record.ended:",
        "if item is None or record is None or record.ended:",
        f"{ENGINE}/test_run_state.py::test_an_answer_of_an_older_attempt_changes_nothing",
    ),
    Guard(
        28,
        "so it is also where answers come together",
        "stepflow_runtime/engine/run_state.py",
        " and record.attempt == 1 and not record.is_suspended:",
        " and not record.is_suspended:",
        f"{ENGINE}/test_run_state.py::test_of_answers_that_come_together_the_late_ones_change_nothing",
    ),
    Guard(
        28,
        "a callback of an execution that has ended is refused",
        "stepflow_runtime/connect/connection.py",
        "        raise RpcError(\n            ErrorCode.NOT_CURRENT,\n",
        "        return next(iter(connection.executions.values()))\n"
        "        raise RpcError(\n            ErrorCode.NOT_CURRENT,\n",
        f"{CONNECT}/test_connection.py::test_the_id_of_an_execution_that_ended_is_refused",
    ),
)
