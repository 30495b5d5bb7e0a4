"""Unreachable blobs go while a runtime works, and nothing goes that comes to be used meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import trio

from protocol.types import BlobType
from stepflow_runtime.model.canonical import blob_id
from stepflow_runtime.model.events import RunCreated
from stepflow_runtime.model.ids import BlobId
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.ports import Lease, RunProgress, RunWrite
from stepflow_runtime.store import collecting, database
from stepflow_runtime.store.garbage import find_garbage
from stepflow_runtime.store.jobs import CommitJob, NoteNamesJob, RemoveBlobsJob
from stepflow_runtime.store.leases import find_shard, grant_all
from stepflow_runtime.store.sql import QUERIES
from stepflow_runtime.store.sqlite import SqliteStore, open_sqlite
from stepflow_runtime.store.transaction import Transactor
from tests.contracts.store_kit import create, name_run, specify

OLD = b'"old"'
OLD_ID = BlobId(blob_id(OLD))


@asynccontextmanager
async def open_store(path: Path) -> AsyncGenerator[SqliteStore]:
    """A store with one blob that was put long ago and that no run can reach."""
    with trio.fail_after(30):
        async with open_sqlite(path) as store:
            await store.put(OLD_ID, OLD, BlobType.DATA)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE blobs SET last_put_at = last_put_at - 1000")
        async with open_sqlite(path) as store:
            yield store


async def test_what_no_run_can_reach_goes_and_what_was_put_lately_stays(tmp_path: Path) -> None:
    async with open_store(tmp_path / "s.db") as store:
        young = BlobId(blob_id(b"1"))
        await store.put(young, b"1", BlobType.DATA)
        assert await store.collector.collect(2000, list) == 0
        assert await store.collector.collect(500, list) == 1
        assert await store.get(OLD_ID) is None
        assert await store.get(young) is not None


async def name_it_in_a_run(store: SqliteStore) -> None:
    await create(store, 1, labels={"about": OLD_ID})


async def put_it_again(store: SqliteStore) -> None:
    await store.put(OLD_ID, OLD, BlobType.DATA)


async def put_what_names_it(store: SqliteStore) -> None:
    naming = f'["{OLD_ID}"]'.encode()
    await store.put(BlobId(blob_id(naming)), naming, BlobType.DATA)


async def read_it(store: SqliteStore) -> None:
    assert await store.get(OLD_ID) is not None


@pytest.mark.parametrize("use", [name_it_in_a_run, put_it_again, put_what_names_it, read_it])
async def test_what_comes_to_be_used_while_it_is_looked_for_stays(
    tmp_path: Path, use: Callable[[SqliteStore], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(tmp_path / "s.db") as store:

        def find(*args: Any, **options: Any) -> list[BlobId]:
            found = find_garbage(*args, **options)
            assert found == [OLD_ID]
            trio.from_thread.run(use, store)
            return found

        monkeypatch.setattr(collecting, "find_garbage", find)
        assert await store.collector.collect(500, list) == 0
        assert await store.get(OLD_ID) == (OLD, BlobType.DATA)
        monkeypatch.undo()
        if use is read_it:
            assert await store.collector.collect(500, list) == 1, "reading it was long ago by now"


async def test_what_is_spared_stays_and_what_is_read_while_it_goes_is_put_again(tmp_path: Path) -> None:
    async with open_store(tmp_path / "s.db") as store:
        assert await store.collector.collect(500, lambda: [OLD_ID]) == 0
        readers: list[bool] = []

        def read_soon() -> list[BlobId]:
            async def read() -> None:
                await trio.lowlevel.checkpoint()  # now the batch is with the writer
                blob = await store.get(OLD_ID)
                readers.append(blob is not None and await store.get(OLD_ID) is not None)

            nursery.start_soon(read)
            return []

        async with trio.open_nursery() as nursery:
            await store.collector.collect(500, read_soon)
        assert readers == [True] or readers == [False]
        assert (await store.get(OLD_ID) is not None) is readers[0], "who read it finds it again"


@pytest.mark.parametrize("spoil", [False, True])
async def test_what_is_named_in_the_very_transaction_of_its_removal_stays(tmp_path: Path, spoil: bool) -> None:
    path = tmp_path / "s.db"
    async with open_store(path):
        pass
    database.prepare(path)
    with closing(database.connect_writer(path, "FULL")) as connection:
        epoch = connection.value(QUERIES["read_epoch"])
        leases = grant_all(f"boot-{epoch}", epoch)
        transactor = Transactor(connection, str(path), leases)
        used: set[str] = set()
        note, remove = NoteNamesJob(used), RemoveBlobsJob([OLD_ID], used, 500)
        write = creation_under(leases, specify(name_run(1), labels={"about": OLD_ID}))
        commits = [CommitJob([write]), *([CommitJob([write])] if spoil else [])]  # the second is a conflict
        transactor.write([note, remove, *commits])
        assert [job.error for job in (note, remove, *commits)] == [None] * (2 + len(commits))
        assert remove.removed == 0
        transactor.write([NoteNamesJob(None), RemoveBlobsJob([OLD_ID], set(), 500)])
        assert connection.value(QUERIES["count_blobs"]) == 0, "and without being named it goes"


def creation_under(leases: Sequence[Lease], spec: RunSpec) -> RunWrite:
    return RunWrite(
        run_id=spec.run_id,
        lease=leases[find_shard(spec.root_run_id)],
        expected_seq=0,
        events=[RunCreated(spec, 1, True)],
        at_ms=0,
        completions_before=0,
        progress=RunProgress(total=1),
        spec=spec,
    )


async def test_a_search_that_nobody_wants_any_more_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[Callable[[], bool]] = []

    async with open_store(tmp_path / "s.db") as store, trio.open_nursery() as nursery:
        begun = trio.Event()

        def find(*args: Any, is_stopped: Callable[[], bool], **options: Any) -> list[BlobId]:
            stopped.append(is_stopped)
            trio.from_thread.run_sync(begun.set)
            return find_garbage(*args, is_stopped=is_stopped, **options)

        monkeypatch.setattr(collecting, "find_garbage", find)
        nursery.start_soon(store.collector.collect, 500, list)
        await begun.wait()
        nursery.cancel_scope.cancel()
    assert stopped[0]()
