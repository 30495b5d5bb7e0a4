"""What only the SQLite store promises: durability, one owner, groups, and care for the file."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
import trio
import trio.testing

from protocol.runs import RunState
from protocol.types import BlobType
from stepflow_runtime.model import status
from stepflow_runtime.model.canonical import blob_id
from stepflow_runtime.model.ids import BlobId
from stepflow_runtime.model.spec import ParentLink
from stepflow_runtime.ports import Fenced, RunProgress, StoreCorrupt, StoreUnavailable
from stepflow_runtime.store import checkpoint, database, writer
from stepflow_runtime.store.connection import Connection
from stepflow_runtime.store.jobs import Job
from stepflow_runtime.store.sql import MIGRATIONS, PROGRESS_COLUMNS
from stepflow_runtime.store.sqlite import open_sqlite
from stepflow_runtime.store.transaction import Transactor
from tests.contracts.store_kit import addition, create, creation, end, name_run, specify, step

BLOB = BlobId(blob_id(b'{"a":1}'))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "runs.db"


def execute(path: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    """Does something to the database behind the store's back."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql, values).fetchall()


async def fill(path: Path) -> None:
    async with open_sqlite(path) as store:
        await store.put(BLOB, b'{"a":1}', BlobType.DATA)


# --- durability ---


@pytest.mark.parametrize("inline_only", [True, False])
async def test_what_was_written_is_there_after_reopening(path: Path, inline_only: bool) -> None:
    async with open_sqlite(path, inline_only=inline_only) as store:
        run_id = await create(store, 1, labels={"a": "b"})
        await store.commit([addition(store, run_id, 1, [step(0)], ended=1, snapshot=b"state")])
        record, rows = await store.run(run_id), await store.journal(run_id, 1, 9)
    async with open_sqlite(path, inline_only=inline_only) as store:
        assert await store.run(run_id) == record
        assert await store.journal(run_id, 1, 9) == rows
        assert await store.snapshot(run_id) == (2, b"state")
        assert await end(store, run_id, after=2) is not None


async def test_every_acknowledged_write_survives_kill_9(path: Path) -> None:
    script = Path(__file__).with_name("store_writer_script.py")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, str(script), str(path)]
    said = b""
    with trio.fail_after(30):
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, env=environment)
        assert process.stdout is not None
        async for chunk in process.stdout:
            said += chunk
            if said.count(b"\n") > 400:
                process.kill()
        await process.wait()
    acknowledged = {name_run(int(line)) for line in said.split(b"\n")[:-1]}
    assert len(acknowledged) >= 400
    async with open_sqlite(path) as store:
        assert acknowledged <= set(await store.unfinished())
        for run_id in acknowledged:
            assert len(await store.journal(run_id, 1, 9)) == 1
        await create(store, 99_999)
    assert execute(path, "PRAGMA integrity_check") == [("ok",)]


async def test_what_is_under_way_is_written_before_the_store_closes(path: Path) -> None:
    async with trio.open_nursery() as nursery, open_sqlite(path) as store:
        for number in range(50):
            nursery.start_soon(create, store, number)
        await trio.testing.wait_all_tasks_blocked(0)
    async with open_sqlite(path) as store:
        assert len(await store.unfinished()) == 50


async def test_a_closed_store_says_so(path: Path) -> None:
    async with open_sqlite(path) as store:
        pass
    with pytest.raises(StoreUnavailable, match="closed"):
        await create(store, 1)


# --- groups ---


async def test_concurrent_commits_share_transactions(path: Path) -> None:
    async with open_sqlite(path) as store:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for number in range(500):
                    nursery.start_soon(create, store, number)
        assert store.transactions <= 5
        assert len(await store.unfinished()) == 500


def note_threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads in which transactions run, one after the other."""
    names: list[str] = []
    write = Transactor.write

    def note(self: Transactor, jobs: Sequence[Job]) -> None:
        names.append(threading.current_thread().name)
        write(self, jobs)

    monkeypatch.setattr(Transactor, "write", note)
    return names


async def test_a_commit_that_is_alone_runs_inline_while_the_disk_is_fast(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = note_threads(monkeypatch)
    async with open_sqlite(path, synchronous="OFF") as store:
        monkeypatch.setattr(writer, "MAX_INLINE_S", 60)
        await create(store, 1)
        monkeypatch.setattr(writer, "MAX_INLINE_S", 0)
        await create(store, 2)
    assert names == ["MainThread", "store-writer"]


async def test_a_large_commit_leaves_the_trio_thread_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = note_threads(monkeypatch)
    async with open_sqlite(path, synchronous="OFF") as store:
        await store.commit([creation(store, specify(name_run(number))) for number in range(100)])
    assert names == ["store-writer"]


async def test_a_bad_job_fails_alone_among_concurrent_ones(path: Path) -> None:
    async with open_sqlite(path) as store:
        running = await create(store, 1)
        results: list[str] = []

        async def attempt(act: Callable[[], Awaitable[object]], name: str) -> None:
            try:
                await act()
                results.append(name)
            except (ValueError, AssertionError) as error:
                results.append(type(error).__name__)

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(attempt, lambda: create(store, 2), "created")
                nursery.start_soon(attempt, lambda: store.delete([running]), "deleted")
                nursery.start_soon(attempt, lambda: create(store, 1, labels={"other": "run"}), "created again")
                nursery.start_soon(attempt, lambda: store.put(BLOB, b'{"a":1}', BlobType.DATA), "put")
        assert sorted(results) == ["AssertionError", "ValueError", "created", "put"]
        assert await store.unfinished() == [running, name_run(2)]
        assert await store.get(BLOB) == (b'{"a":1}', BlobType.DATA)


# --- one owner ---


async def test_a_second_runtime_is_refused(path: Path) -> None:
    async with open_sqlite(path):
        with pytest.raises(StoreUnavailable, match="Another runtime uses"):
            async with open_sqlite(path):
                pass


async def test_an_owner_is_fenced_once_another_has_booted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(open_sqlite(path))
        run_id = await create(old, 1)
        new = await stack.enter_async_context(open_sqlite(path))
        assert await end(old, run_id) == Fenced()
        assert await old.commit([creation(old, specify(name_run(2)))]) == [Fenced()]
        with pytest.raises(StoreUnavailable, match="taken the database over"):
            await old.put(BLOB, b'{"a":1}', BlobType.DATA)
        assert new.lease(run_id).epoch == old.lease(run_id).epoch + 1
        await create(new, 3)
        assert await new.unfinished() == [run_id, name_run(3)]


# --- care for the file ---


async def test_file_and_folder_are_for_the_owner_alone(path: Path) -> None:
    async with open_sqlite(path) as store:
        await create(store, 1)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def write_garbage(path: Path) -> None:
    path.write_bytes(b"this is no database, but a file that somebody may need " * 100)


def write_other_program(path: Path) -> None:
    execute(path, "CREATE TABLE precious (data)")


def write_newer_release(path: Path) -> None:
    execute(path, "CREATE TABLE runs (data)")
    execute(path, f"PRAGMA application_id = {database.APPLICATION_ID}")
    execute(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")


@pytest.mark.parametrize(
    ("write", "complaint"),
    [
        (write_garbage, "is damaged"),
        (write_other_program, "of another program"),
        (write_newer_release, "this release knows"),
    ],
)
async def test_a_file_that_is_not_ours_is_refused_and_left_alone(
    tmp_path: Path, write: Callable[[Path], None], complaint: str
) -> None:
    path = tmp_path / "runs.db"
    write(path)
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match=complaint):
        async with open_sqlite(path):
            pass
    assert path.read_bytes() == before


async def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="check the path"):
        async with open_sqlite(tmp_path / "file" / "runs.db"):
            pass


async def test_a_full_disk_refuses_everything_and_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connections: list[Connection] = []
    monkeypatch.setattr(database, "connect_writer", keep(database.connect_writer, connections))
    async with open_sqlite(path) as store:
        run_id = await create(store, 1)
        connection, _ = connections
        pages = connection.value("PRAGMA page_count")
        connection.set("max_page_count", pages)
        data = os.urandom(1_000_000)
        with pytest.raises(StoreUnavailable, match="disk is full; free some space"):
            await store.put(BlobId(blob_id(data)), data, BlobType.BINARY)
        connection.set("max_page_count", 1_000_000)
        await store.put(BlobId(blob_id(data)), data, BlobType.BINARY)
        assert await store.unfinished() == [run_id]
        assert await store.get(BlobId(blob_id(data))) == (data, BlobType.BINARY)


def keep(connect: Callable[..., Connection], kept: list[Connection]) -> Callable[..., Connection]:
    def connect_and_keep(*arguments: object) -> Connection:
        kept.append(connect(*arguments))
        return kept[-1]

    return connect_and_keep


async def test_a_damaged_blob_is_an_error_and_healed_by_the_next_put(path: Path) -> None:
    async with open_sqlite(path) as store:
        await store.put(BLOB, b'{"a":1}', BlobType.DATA)
        execute(path, "UPDATE blobs SET data = ?", b'{"a":2}')
        with pytest.raises(StoreCorrupt, match="put the same content again"):
            await store.get(BLOB)
        await store.put(BLOB, b'{"a":1}', BlobType.DATA)
        assert await store.get(BLOB) == (b'{"a":1}', BlobType.DATA)


@pytest.mark.parametrize("inline_only", [True, False])
async def test_the_wal_is_used_again_under_load(path: Path, monkeypatch: pytest.MonkeyPatch, inline_only: bool) -> None:
    monkeypatch.setattr(checkpoint, "PAGES", 50)
    async with open_sqlite(path, synchronous="OFF", inline_only=inline_only) as store:
        for number in range(1000):
            await create(store, number)
        wal = path.with_name("runs.db-wal").stat().st_size
        assert wal < 20_000_000, "all that is written is 39 MB; a thread that gets little time is behind by a few"


# --- the schema ---


def find_check(path: Path, column: str) -> set[str]:
    """The words that a column's CHECK accepts, found by asking."""
    (sql,) = execute(path, "SELECT sql FROM sqlite_schema WHERE name = 'runs'")[0]
    words = str(sql).split(f"{column} IN (")[1].split(")")[0]
    return {word.strip(" '") for word in words.split(",")}


async def test_the_schema_knows_the_states_of_a_run(path: Path) -> None:
    await fill(path)
    accepted = find_check(path, "status")
    assert accepted == set(RunState)
    assert accepted >= set(status.RUN)


async def test_the_schema_refuses_a_status_that_is_none(path: Path) -> None:
    async with open_sqlite(path) as store:
        await create(store, 1)
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            execute(path, "UPDATE runs SET status = 'completed'")


async def test_the_queries_know_which_states_are_final(path: Path) -> None:
    async with open_sqlite(path) as store:
        parent = await create(store, 1000)
        for number, state in enumerate(RunState):
            link = ParentLink(parent, 0, "a", "k")
            spec = specify(name_run(number), parent=link, root=parent)
            await store.commit([creation(store, spec)])
            await end(store, spec.run_id, state)
            is_unfinished = spec.run_id in await store.unfinished()
            assert is_unfinished == (state not in status.TERMINAL_RUN_STATES)
            (result,) = await store.commit([creation(store, specify(name_run(500), parent=link, root=parent))])
            holds_its_key = type(result).__name__ == "Conflict"
            assert holds_its_key == (state not in {RunState.FAILED, RunState.CANCELLED})
            await end(store, name_run(500), RunState.FAILED)
            await end(store, spec.run_id, RunState.FAILED, after=2)
            await store.delete([spec.run_id, name_run(500)] if not holds_its_key else [spec.run_id])


async def test_the_columns_of_progress_are_its_fields(path: Path) -> None:
    await fill(path)
    columns = [row[1] for row in execute(path, "PRAGMA table_info(runs)")]
    assert RunProgress.__struct_fields__ == PROGRESS_COLUMNS
    assert set(PROGRESS_COLUMNS) <= set(columns)


async def test_a_page_of_runs_is_read_through_an_index(path: Path) -> None:
    await fill(path)
    for where in ("status = 'failed'", "flow_id = 'x'", "flow_name = 'x'", "root_run_id = 'x'", "parent_run_id = 'x'"):
        plan = execute(path, f"EXPLAIN QUERY PLAN SELECT * FROM runs WHERE {where} ORDER BY run_id DESC LIMIT 9")
        assert "USING INDEX" in str(plan), where
        assert "TEMP B-TREE" not in str(plan), where
