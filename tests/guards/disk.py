"""Guards of the store and of time, FAULTS 29 to 34."""

from __future__ import annotations

from typing import Final

from tests.guards.guard import Guard

ENGINE: Final = "tests/stepflow_runtime/engine"
SERVICES: Final = "tests/stepflow_runtime/services"
STORE: Final = "tests/stepflow_runtime/store"

DISK: Final = (
    Guard(
        29,
        "who submitted is told of a refusal only when there is no such run",
        "stepflow_runtime/engine/committer.py",
        "if taken.write.expected_seq or await self._may_be_stored(taken.write.run_id):",
        "if taken.write.expected_seq:",
        "tests/crash/test_refused_writes.py::test_whichever_write_is_refused_the_work_is_done_once[answers lost]",
    ),
    Guard(
        29,
        "a write whose answer was lost is known again",
        "stepflow_runtime/store/transaction.py",
        "return result if self._is_there(part) else conflict",
        "return conflict",
        "tests/contracts/test_store_commit.py::test_a_write_whose_answer_was_lost_is_written_once_however_often_it_comes",
    ),
    Guard(
        30,
        "content is compared with its id when it is read",
        "stepflow_runtime/store/content.py",
        "if identify(data) != blob_id:",
        "if not blob_id:",
        f"{STORE}/test_sqlite.py::test_a_damaged_blob_is_an_error_and_healed_by_the_next_put",
    ),
    Guard(
        31,
        "what is no id of a blob is refused",
        "stepflow_runtime/store/content.py",
        "if not is_blob_id(blob_id):",
        "if not blob_id:",
        "tests/contracts/test_store_blobs.py::test_an_id_of_another_form_is_refused",
    ),
    Guard(
        32,
        "a second runtime is kept off the database",
        "stepflow_runtime/store/database.py",
        "fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        f"{STORE}/test_sqlite.py::test_a_second_runtime_is_refused",
    ),
    Guard(
        32,
        "a database of another program is refused",
        "stepflow_runtime/store/database.py",
        'if not is_new and connection.value("PRAGMA application_id") != APPLICATION_ID:',
        "if not path:",
        "tests/operations/test_db.py::test_a_database_that_is_not_ours_is_refused_and_left_alone",
    ),
    Guard(
        32,
        "a database of a newer release is refused",
        "stepflow_runtime/store/database.py",
        "    if version > len(MIGRATIONS):\n",
        "    if not path:\n",
        "tests/operations/test_db.py::test_a_database_that_is_not_ours_is_refused_and_left_alone",
    ),
    Guard(
        33,
        "timers follow a clock that nobody sets",
        "stepflow_runtime/engine/timers.py",
        "await trio.sleep(max(due - self._clock.monotonic(), 0.0))\n"
        "            self._sleeping = None\n"
        "            now = self._clock.monotonic()\n",
        "await trio.sleep(max(due - self._clock.wall_ms() / 1000, 0.0))\n"
        "            self._sleeping = None\n"
        "            now = self._clock.wall_ms() / 1000\n",
        f"{ENGINE}/test_timers.py::test_a_wall_clock_that_is_set_moves_no_timer",
    ),
    Guard(
        33,
        "each time of a schedule has a key of its own",
        "stepflow_runtime/services/automation/scheduling.py",
        'f"schedule/{record.schedule_id}/{time_ms}"',
        'f"schedule/{record.schedule_id}/{time_ms}/{self._clock.wall_ms()}"',
        f"{SERVICES}/automation/test_schedules.py::test_a_death_around_a_firing_loses_and_doubles_none",
    ),
    Guard(
        33,
        "a schedule looks ahead from the time that it took, not from the clock",
        "stepflow_runtime/services/automation/scheduling.py",
        "            self.look_ahead(self.next_ms)\n",
        "            self.look_ahead(now_ms)\n",
        f"{SERVICES}/automation/test_schedules.py::test_a_clock_that_jumps_fires_no_time_twice",
    ),
    Guard(
        34,
        "each commit is synced to the disk",
        "stepflow_runtime/store/database.py",
        '    connection.set("synchronous", synchronous)\n',
        '    connection.set("synchronous", "NORMAL")\n',
        f"{STORE}/test_power.py::test_every_commit_is_synced_unless_something_else_is_asked_for",
    ),
)
