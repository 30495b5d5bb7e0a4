"""`stepflow db …`: what does not fit together is told, copies are whole, and databases of older releases go on."""

from __future__ import annotations

import gzip
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conformance.wire import ROOT, make_flow, serve

FIRST_RELEASE: Final = ROOT / "tests" / "data" / "state-0.1.0.db.gz"
"""As the first release left it when it was killed: runs that ended, nested ones, one in flight and one that is open."""

PLUGINS: Final = {
    "plugins": {
        "builtin": {"type": "builtin"},
        "mock": {
            "type": "mock",
            "components": {
                "/double": {
                    "behaviors": [{"input": n, "result": {"outcome": "success", "value": 2 * n}} for n in (1, 2, 3)]
                }
            },
        },
    },
    "routes": {
        "/builtin": [{"plugin": "builtin"}],
        "/away": [{"plugin": "mock"}],
        "/mock": [{"plugin": "mock"}],
    },
}


def stepflow(*args: str | Path) -> tuple[int, str]:
    """What a command said, and its exit code."""
    command = [sys.executable, "-m", "stepflow_runtime.app.cli", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    return done.returncode, done.stdout + done.stderr


def check(path: Path) -> tuple[int, str]:
    return stepflow("db", "check", "--storage-path", path)


def with_state(path: Path) -> dict[str, Any]:
    return {**PLUGINS, "storage": {"type": "sqlite", "path": str(path)}}


def execute(path: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql, values).fetchall()


@pytest.fixture
def first_release(tmp_path: Path) -> Path:
    path = tmp_path / "first.db"
    path.write_bytes(gzip.decompress(FIRST_RELEASE.read_bytes()))
    return path


# --- check ---


def test_a_sound_database_is_well_and_stays_as_it_is(first_release: Path) -> None:
    before = first_release.read_bytes()
    code, said = check(first_release)
    assert (code, "6 runs and 6 blobs: all is well" in said) == (0, True), said
    assert first_release.read_bytes() == before


def test_a_database_is_checked_while_a_runtime_serves(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with serve(tmp_path, with_state(path)) as runtime, runtime.connect() as client:
        client.run(make_flow("/builtin/noop"), range(2500), maxConcurrency=7)
        code, said = check(path)
        assert (code, "1 runs and 1 blobs: all is well" in said) == (0, True), said
        client.run(make_flow("/builtin/noop"), range(3))
    assert check(path)[0] == 0


def lose_a_commit(path: Path) -> None:
    execute(path, "DELETE FROM journal WHERE row_no = (SELECT min(row_no) FROM journal)")


def change_an_event(path: Path) -> None:
    ((number, events),) = execute(path, "SELECT row_no, events FROM journal ORDER BY length(events) DESC LIMIT 1")
    execute(path, "UPDATE journal SET events = ? WHERE row_no = ?", events[:-1], number)


def drop_half_a_blob(path: Path) -> None:
    execute(path, "UPDATE blobs SET data = substr(data, 1, length(data) / 2) WHERE type = 'binary'")


FAULTS: Final[dict[str, tuple[Callable[[Path], object], str]]] = {
    "gap": (lose_a_commit, "has a gap after event"),
    "event": (change_an_event, "cannot be read after event"),
    "count": (lambda path: execute(path, "UPDATE runs SET success = success - 1 WHERE success = 3"), "in success"),
    "status": (lambda path: execute(path, "UPDATE runs SET status = 'success' WHERE status = 'failed'"), "in status"),
    "result": (lambda path: execute(path, "UPDATE chunks SET refs = x'0500000000000000'"), "index of its results"),
    "input": (
        lambda path: execute(path, "UPDATE segments SET count = count - 1 WHERE count > 1"),
        "inputs are not whole",
    ),
    "spec": (
        lambda path: execute(path, "UPDATE specs SET spec = CAST(replace(spec, 'nested', 'faked') AS BLOB)"),
        "was submitted",
    ),
    "unreadable": (lambda path: execute(path, "UPDATE specs SET spec = x'00'"), "cannot be read"),
    "blob": (drop_half_a_blob, "was damaged in the store"),
    "flow": (lambda path: execute(path, "DELETE FROM blobs WHERE type = 'flow'"), "its flow blake3:"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_does_not_fit_together_is_told(first_release: Path, name: str) -> None:
    damage, told = FAULTS[name]
    damage(first_release)
    code, said = check(first_release)
    assert (code, told in said) == (1, True), said


def test_damaged_pages_are_told(first_release: Path) -> None:
    content = bytearray(first_release.read_bytes())
    content[8192:12000] = b"\xff" * (12000 - 8192)
    first_release.write_bytes(content)
    code, said = check(first_release)
    assert (code, "damaged" in said) == (1, True), said


@pytest.mark.parametrize(
    ("sql", "told"),
    [("PRAGMA user_version = 99", "schema version 99"), ("PRAGMA application_id = 7", "another program")],
)
def test_a_database_that_is_not_ours_is_refused_and_left_alone(first_release: Path, sql: str, told: str) -> None:
    execute(first_release, sql)
    before = first_release.read_bytes()
    for command in ("check", "migrate"):
        code, said = stepflow("db", command, "--storage-path", first_release)
        assert (code, told in said) == (2, True), said
    assert first_release.read_bytes() == before


def test_a_database_that_another_program_has_locked_is_left_alone_and_told_of(first_release: Path) -> None:
    with closing(sqlite3.connect(first_release, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        for command in (("check",), ("migrate",), ("gc",), ("backup", first_release.with_name("copy.db"))):
            code, said = stepflow("db", *command, "--storage-path", first_release)
            assert (code, "another program holds a lock on it" in said) == (2, True), said
            assert "Traceback" not in said
        other.execute("ROLLBACK")
    assert check(first_release)[0] == 0


def test_no_database_is_made_where_none_is(tmp_path: Path) -> None:
    code, said = check(tmp_path / "none.db")
    assert (code, "There is no database" in said) == (2, True), said
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_is_compared_with_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with serve(tmp_path, with_state(path)) as runtime, runtime.connect() as client:
        client.run(make_flow("/builtin/noop"), range(9000), maxConcurrency=50)
    ((saved,),) = execute(path, "SELECT data FROM snapshots")
    assert check(path)[0] == 0
    for changed, told in (
        (saved.replace(b'"next_item":', b'"next_item":1'), "is not what its journal says"),
        (saved[1:], "cannot be read"),
    ):
        execute(path, "UPDATE snapshots SET data = ?", changed)
        code, said = check(path)
        assert (code, f"its snapshot {told}" in said) == (1, True), said


# --- backup ---


def test_a_backup_is_whole_while_a_runtime_serves_and_goes_on_by_itself(tmp_path: Path) -> None:
    path, copy = tmp_path / "state.db", tmp_path / "copy.db"
    with serve(tmp_path, with_state(path)) as runtime, runtime.connect() as client:
        flow_id = client.put_flow(make_flow("/builtin/noop"))
        run_id = client.call("runs/submit", {"flowId": flow_id, "inputs": [1, 2], "sealed": False})["runId"]
        code, said = stepflow("db", "backup", copy, "--storage-path", path)
        assert code == 0, said
        client.call("runs/append", {"runId": run_id, "atIndex": 2, "inputs": [3]})
    assert copy.stat().st_mode & 0o777 == 0o600
    assert check(copy)[0] == 0
    with serve(tmp_path, with_state(copy)) as runtime, runtime.connect() as client:
        client.call("runs/append", {"runId": run_id, "atIndex": 2, "inputs": [4], "sealed": True})
        status = client.call("runs/get", {"runId": run_id, "wait": True, "includeResults": True})
        assert [entry["result"]["value"] for entry in status["results"]] == [1, 2, 4]


def test_a_backup_that_is_made_under_load_is_of_one_moment_and_goes_on_from_there(tmp_path: Path) -> None:
    path, copy, items = tmp_path / "state.db", tmp_path / "copy.db", 1500
    with serve(tmp_path, with_state(path)) as runtime, runtime.connect() as client:
        flow_id = client.put_flow(make_flow("/builtin/noop"))
        submission = {"flowId": flow_id, "inputs": list(range(items)), "maxConcurrency": 2}
        run_ids = [client.call("runs/submit", submission)["runId"] for _ in range(2)]
        code, said = stepflow("db", "backup", copy, "--storage-path", path)
        assert code == 0, said
        for run_id in run_ids:
            client.call("runs/cancel", {"runId": run_id, "graceMs": 0})
    ((done,),) = execute(copy, "SELECT sum(success) FROM runs")
    assert 0 < done < 2 * items, "it was made in the midst of the work"
    code, said = check(copy)
    assert (code, "all is well" in said) == (0, True), said
    with serve(tmp_path, with_state(copy)) as runtime, runtime.connect() as client:
        for run_id in run_ids:
            status = client.call("runs/get", {"runId": run_id, "wait": True, "includeResults": True})
            assert [entry["result"]["value"] for entry in status["results"]] == list(range(items))


def test_a_backup_replaces_nothing(first_release: Path, tmp_path: Path) -> None:
    target = tmp_path / "kept"
    target.write_text("kept")
    code, said = stepflow("db", "backup", target, "--storage-path", first_release)
    assert (code, "is there already" in said) == (2, True), said
    assert target.read_text() == "kept"


def test_a_backup_that_fails_leaves_nothing_behind(first_release: Path, tmp_path: Path) -> None:
    code, said = stepflow("db", "backup", tmp_path / "absent" / "copy.db", "--storage-path", first_release)
    assert (code, "absent" in said) == (2, True), said
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["first.db"]


# --- migrate ---


def test_a_database_of_the_first_release_is_migrated(first_release: Path) -> None:
    code, said = stepflow("db", "migrate", "--storage-path", first_release)
    assert (code, "from version 1 to" in said) == (0, True), said
    assert "already" in stepflow("db", "migrate", "--storage-path", first_release)[1]
    assert check(first_release)[0] == 0


def test_runs_of_the_first_release_go_on_in_this_one(first_release: Path, tmp_path: Path) -> None:
    with serve(tmp_path, with_state(first_release)) as runtime, runtime.connect() as client:
        by_label = {run.get("flowLabel"): run["runId"] for run in client.call("runs/list")["runs"]}

        def results(label: str, **params: Any) -> list[Any]:
            params = {"runId": by_label[label], "includeResults": True, **params}
            return [entry["result"] for entry in client.call("runs/get", params)["results"]]

        assert [result["value"] for result in results("ended")] == [1, {"a": [1.0, 2]}, None]
        assert results("failed")[0]["error"]["code"] == "COMPONENT_FAILED"
        assert [result["value"] for result in results("unfinished", wait=True)] == [2, 4, 6]
        client.call("runs/append", {"runId": by_label["open"], "atIndex": 2, "inputs": [3], "sealed": True})
        assert [result["value"] for result in results("open", wait=True)] == [1, 2, 3]
        submission = {"idempotencyKey": "first", "labels": {"made": "before"}, "flowLabel": "ended"}
        flow_id = client.put_flow(make_flow("/builtin/noop"))
        repeated = client.call("runs/submit", {"flowId": flow_id, "inputs": [1, {"a": [1.0, 2]}, None], **submission})
        assert (repeated["runId"], repeated["deduplicated"]) == (by_label["ended"], True)
    assert check(first_release)[0] == 0


def test_a_database_that_a_runtime_has_is_not_migrated(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with serve(tmp_path, with_state(path)):
        code, said = stepflow("db", "migrate", "--storage-path", path)
        assert (code, "Another runtime uses the database" in said) == (2, True), said
