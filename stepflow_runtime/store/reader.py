"""What is read from the SQLite database, on a connection of its own: one statement, one short transaction each.

Runs on the trio thread and never waits: a read of a page takes less than the hop to another thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from protocol.runs import RunState
from protocol.types import BlobType
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.model.spec import RunSpec
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
from stepflow_runtime.store.connection import Connection
from stepflow_runtime.store.failures import explain
from stepflow_runtime.store.sql import QUERIES

_spec_decoder = msgspec.json.Decoder(RunSpec)


def _make_progress(columns: Sequence[Any]) -> RunProgress:
    progress = RunProgress(*columns)
    progress.status = RunState(progress.status)
    progress.sealed = bool(progress.sealed)
    progress.cancel_requested = bool(progress.cancel_requested)
    progress.paused = bool(progress.paused)
    return progress


def _make_record(row: Sequence[Any]) -> RunRecord:
    return RunRecord(_spec_decoder.decode(row[0]), _make_progress(row[1:]))


class Reader:
    """Reads through one connection, which nothing else uses."""

    def __init__(self, connection: Connection, path: str) -> None:
        self._db = connection
        self._path = path

    def _all(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        try:
            return self._db.rows(sql, values)
        except apsw.Error as error:
            raise explain(error, self._path) from error

    def _one(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        rows = self._all(QUERIES[query], values)
        return rows[0] if rows else None

    def _record(self, query: str, *values: Any) -> RunRecord | None:
        row = self._one(query, *values)
        return None if row is None else _make_record(row)

    def _records(self, query: str, *values: Any) -> list[RunRecord]:
        return [_make_record(row) for row in self._all(QUERIES[query], values)]

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """All that a named query finds."""
        return self._all(QUERIES[query], values)

    def select(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """All that a statement finds which was put together from named ones."""
        return self._all(sql, values)

    # --- runs ---

    def progress(self, run_id: RunId) -> RunProgress | None:
        row = self._one("progress", run_id)
        return None if row is None else _make_progress(row)

    def run(self, run_id: RunId) -> RunRecord | None:
        return self._record("run", run_id)

    def runs(self, where: RunFilter, before: RunId | None, limit: int) -> list[RunRecord]:
        labels = list((where.labels or {}).items())
        # The first label leads, as its index has the runs in order; the others are looked up for each of them.
        query, order = ("list_labelled_runs", "labels.run_id") if labels else ("list_runs", "runs.run_id")
        conditions: list[tuple[str, Sequence[Any]]] = [(QUERIES["has_label"], label) for label in labels[1:]]
        if labels:
            conditions += [("labels.name = ? AND labels.value = ?", labels[0])]
        wanted = {
            f"{order} < ?": before,
            "status = ?": where.status,
            "flow_id = ?": where.flow_id,
            "flow_name = ?": where.flow_name,
            "parent_run_id = ?": where.parent_run_id,
            "root_run_id = ?": where.root_run_id,
            "job_run_id = ?": where.job_run_id,
            "forked_from = ?": where.forked_from,
            "created_at_ms > ?": where.created_after_ms,
            "created_at_ms < ?": where.created_before_ms,
        }
        conditions += [(condition, (value,)) for condition, value in wanted.items() if value is not None]
        sql = QUERIES[query]
        if conditions:
            sql += " WHERE " + " AND ".join(condition for condition, _ in conditions)
        sql += f" ORDER BY {order} DESC LIMIT ?"
        values = [value for _, values in conditions for value in values]
        return [_make_record(row) for row in self._all(sql, [*values, limit])]

    def unfinished(self) -> list[RunId]:
        return [RunId(run_id) for (run_id,) in self._all(QUERIES["unfinished"], ())]

    def children(self, run_id: RunId) -> list[RunRecord]:
        return self._records("children", run_id)

    def child(self, parent: RunId, item_index: int, step_id: str, key: str) -> RunRecord | None:
        return self._record("child", parent, item_index, step_id, key)

    def children_of_step(self, parent: RunId, item_index: int, step_id: str) -> list[RunRecord]:
        return self._records("children_of_step", parent, item_index, step_id)

    def run_by_idempotency_key(self, principal: str, key: str) -> RunRecord | None:
        return self._record("run_by_idempotency_key", principal, key)

    # --- what a run consists of ---

    def journal(self, run_id: RunId, from_seq: int, max_rows: int) -> list[JournalRow]:
        return [JournalRow(*row[:5]) for row in self._all(QUERIES["journal"], (run_id, from_seq, max_rows))]

    def journal_at_completion(self, run_id: RunId, ordinal: int, max_rows: int) -> list[JournalRow]:
        found = self._one("seq_at_completion", run_id, ordinal)
        return [] if found is None else self.journal(run_id, found[0], max_rows)

    def tree_journal(self, root_run_id: RunId, after: int, max_rows: int) -> list[TreeRow]:
        rows = self._all(QUERIES["tree_journal"], (root_run_id, after, max_rows))
        return [TreeRow(position, run_id, JournalRow(*row)) for position, run_id, *row in rows]

    def tree_end(self, root_run_id: RunId) -> int:
        ((position,),) = self._all(QUERIES["tree_end"], (root_run_id,))
        end: int = position
        return end

    def chunks(self, run_id: RunId, first: int, last: int) -> list[ResultChunk]:
        return [ResultChunk(*row) for row in self._all(QUERIES["chunks"], (run_id, first, last))]

    def inputs(self, run_id: RunId, index: int) -> InputSegment | None:
        row = self._one("inputs", run_id, index)
        segment = None if row is None else InputSegment(*row)
        return segment if segment is not None and index < segment.first_index + segment.count else None

    def snapshot(self, run_id: RunId) -> tuple[int, bytes] | None:
        row = self._one("snapshot", run_id)
        return None if row is None else (row[0], row[1])

    def outbox(self) -> list[Message]:
        return [Message(*row) for row in self._all(QUERIES["outbox"], ())]

    # --- blobs ---

    def blob_ids(self, after: str, limit: int) -> list[BlobId]:
        return [BlobId(blob_id) for (blob_id,) in self._all(QUERIES["blob_ids"], (after, limit))]

    def blob(self, blob_id: BlobId) -> tuple[bytes, BlobType] | None:
        row = self._one("blob", blob_id)
        return None if row is None else (row[0], BlobType(row[1]))
