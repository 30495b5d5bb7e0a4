"""What can be read of the SQLite database: half a store, also of a database that another process has.

A view that was opened by itself sees the database as it was at its first look, whatever is written meanwhile, and
writes nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import fields

from protocol.types import BlobType
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.ports import (
    InputSegment,
    JournalRow,
    Message,
    ResultChunk,
    RunFilter,
    RunProgress,
    RunRecord,
    TreeRow,
)
from stepflow_runtime.store import database
from stepflow_runtime.store.connection import Connection
from stepflow_runtime.store.content import verify_content
from stepflow_runtime.store.reader import Reader
from stepflow_runtime.store.sql import MIGRATIONS


class SqliteView:
    """The methods of `Store` and `BlobStore` that read."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def run(self, run_id: RunId) -> RunRecord | None:
        return self._reader.run(run_id)

    async def runs(self, where: RunFilter, before: RunId | None, limit: int) -> list[RunRecord]:
        return self._reader.runs(where, before, limit)

    async def unfinished(self) -> list[RunId]:
        return self._reader.unfinished()

    async def children(self, run_id: RunId) -> list[RunRecord]:
        return self._reader.children(run_id)

    async def child(self, parent: RunId, item_index: int, step_id: str, key: str) -> RunRecord | None:
        return self._reader.child(parent, item_index, step_id, key)

    async def children_of_step(self, parent: RunId, item_index: int, step_id: str) -> list[RunRecord]:
        return self._reader.children_of_step(parent, item_index, step_id)

    async def run_by_idempotency_key(self, principal: str, key: str) -> RunRecord | None:
        return self._reader.run_by_idempotency_key(principal, key)

    async def journal(self, run_id: RunId, from_seq: int, max_rows: int) -> list[JournalRow]:
        return self._reader.journal(run_id, from_seq, max_rows)

    async def journal_at_completion(self, run_id: RunId, ordinal: int, max_rows: int) -> list[JournalRow]:
        return self._reader.journal_at_completion(run_id, ordinal, max_rows)

    async def tree_journal(self, root_run_id: RunId, after: int, max_rows: int) -> list[TreeRow]:
        return self._reader.tree_journal(root_run_id, after, max_rows)

    async def chunks(self, run_id: RunId, first: int, last: int) -> list[ResultChunk]:
        return self._reader.chunks(run_id, first, last)

    async def inputs(self, run_id: RunId, index: int) -> InputSegment | None:
        return self._reader.inputs(run_id, index)

    async def snapshot(self, run_id: RunId) -> tuple[int, bytes] | None:
        return self._reader.snapshot(run_id)

    async def outbox(self) -> list[Message]:
        return self._reader.outbox()

    async def get(self, blob_id: BlobId) -> tuple[bytes, BlobType] | None:
        blob = self._reader.blob(blob_id)
        if blob is not None:
            verify_content(blob_id, blob[0])
        return blob

    async def blob_ids(self, after: str, limit: int) -> list[BlobId]:
        """The ids of blobs, in their order, beginning after one."""
        return self._reader.blob_ids(after, limit)


def _supply_columns(connection: Connection) -> None:
    """Lets an older database be read as it is: what it does not say of a run's progress has its default."""
    there = {name for (_, name, *_) in connection.rows("PRAGMA table_info(runs)")}
    missing = [field for field in fields(RunProgress) if field.name not in there]
    if missing:
        supplied = ", ".join(f"{field.default or 0:d} AS {field.name}" for field in missing)
        connection.set("query_only", 0)
        connection.run(f"CREATE TEMP VIEW runs AS SELECT *, {supplied} FROM main.runs")
        connection.set("query_only", 1)


@contextmanager
def open_view(path: Path) -> Generator[SqliteView]:
    """Opens a database for reading, also while a runtime has it.

    Raises:
        StoreUnavailable: It is not there, or the medium refused.
        StoreCorrupt: It is damaged, of another program or of a newer release.
    """
    connection = database.connect_reader(path)
    try:
        if database.identify(connection, path) < len(MIGRATIONS):
            _supply_columns(connection)
        connection.run("BEGIN")
        yield SqliteView(Reader(connection, str(path)))
    finally:
        connection.close()
