"""What a transaction writes: jobs of any kind, as many at once as there are, into one database.

A group is written whole; if anything in it fails, it is undone and every part goes again alone under a savepoint, so
that a bad one fails alone. Knows nothing of threads or trio: `writer` decides where and when; `sqlite` makes the jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import apsw
import msgspec
from msgspec.structs import astuple

from protocol.runs import RunState
from stepflow_runtime.model.events import JOURNAL_VERSION
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import (
    CommitResult,
    Committed,
    Conflict,
    Fenced,
    JournalRow,
    Lease,
    RunProgress,
    RunWrite,
    StoreUnavailable,
)
from stepflow_runtime.store import conflicts
from stepflow_runtime.store.byproducts import make_rows
from stepflow_runtime.store.connection import Connection, Row
from stepflow_runtime.store.failures import MEDIUM_ERRORS, explain
from stepflow_runtime.store.garbage import find_names
from stepflow_runtime.store.jobs import (
    CommitJob,
    DeleteJob,
    Job,
    NoteNamesJob,
    Part,
    PutJob,
    RemoveBlobsJob,
    RowsJob,
    SettleJob,
)
from stepflow_runtime.store.sql import QUERIES

_encode_spec = msgspec.json.Encoder().encode

_ROWS_OF_A_COMMIT: Final = (
    "insert_run",
    "insert_spec",
    "insert_label",
    "update_progress",
    "insert_journal",
    "insert_segment",
    "put_chunk",
    "put_snapshot",
    "insert_message",
    "insert_delivery",
    "insert_stream_write",
    "put_stream",
    "insert_checkpoint",
    "insert_artifact",
)
_ROWS_OF_A_RUN: Final = (
    "delete_run",
    "delete_spec",
    "delete_labels",
    "delete_journal",
    "delete_segments",
    "delete_chunks",
    "delete_snapshot",
    "delete_stream_writes",
    "delete_streams",
    "delete_checkpoints",
    "delete_artifacts",
)


class _Mismatch(Exception):
    """Something in a group is not as its writer believed."""


class Transactor:
    """Writes groups of jobs through one connection, under one epoch."""

    def __init__(self, connection: Connection, path: str, leases: Sequence[Lease]) -> None:
        self._db = connection
        self._path = path
        self._leases = leases
        self._run_nos: dict[RunId, int] = {}
        """Of runs that were written and have not ended."""
        self._next_run_no: int = connection.value(QUERIES["last_run_no"]) + 1

    def write(self, jobs: Sequence[Job]) -> None:
        """Writes the jobs in one transaction, and sets in each how it ended. Raises nothing."""
        try:
            self._write(jobs)
        except Exception as error:
            for job in jobs:
                job.error = explain(error, self._path) if isinstance(error, apsw.Error) else error

    def _write(self, jobs: Sequence[Job]) -> None:
        try:
            self._transact(jobs, self._write_whole)
        except MEDIUM_ERRORS:
            raise
        except Exception:  # whatever it is, it is found again by the one that it belongs to
            self._transact(jobs, self._write_one_by_one)

    def _transact(self, jobs: Sequence[Job], write: Callable[[Sequence[Job]], None]) -> None:
        try:
            with self._db.transaction():
                if self._db.value(QUERIES["read_epoch"]) == self._leases[0].epoch:
                    write(jobs)
                else:
                    _fence(jobs)
        except BaseException:
            self._run_nos.clear()
            raise

    # --- a group as a whole ---

    def _write_whole(self, jobs: Sequence[Job]) -> None:
        parts: list[Part] = []
        removals: list[RemoveBlobsJob] = []
        for job in jobs:
            match job:
                case CommitJob():
                    for part in job.parts:
                        part.result = self._judge(part)
                        if isinstance(part.result, Committed):
                            parts.append(part)
                case RemoveBlobsJob():
                    removals.append(job)
                case _:
                    self._write_other(job)
        if parts:
            self._write_runs(parts)
        for job in removals:  # when all that this transaction names is known
            self._remove_blobs(job)

    def _judge(self, part: Part) -> CommitResult:
        lease = part.write.lease
        return Committed(part.progress.seq) if lease == self._leases[lease.shard] else Fenced()

    def _write_runs(self, parts: Sequence[Part]) -> None:
        rows: dict[str, list[Row]] = {name: [] for name in _ROWS_OF_A_COMMIT}
        for part in parts:
            part.encode()
            self._add_rows(rows, part)
        db = self._db
        for name in _ROWS_OF_A_COMMIT:
            if rows[name]:
                before = db.count_changes()
                db.run_many(QUERIES[name], rows[name])
                if name == "update_progress" and db.count_changes() - before != len(rows[name]):
                    raise _Mismatch
        for part in parts:
            if part.progress.status in TERMINAL_RUN_STATES:
                self._run_nos.pop(part.write.run_id, None)

    def _add_rows(self, rows: dict[str, list[Row]], part: Part) -> None:
        write, progress, row = part.write, part.progress, part.row
        run_no = self._find_run_no(write) if write.spec is None else self._add_run(rows, write, progress)
        if write.spec is None:
            rows["update_progress"].append((*astuple(progress), run_no, write.expected_seq))
        if row is not None:
            rows["insert_journal"].append(
                (
                    run_no,
                    row.first_seq,
                    row.last_seq,
                    row.at_ms,
                    row.completions_before,
                    progress.completions,
                    JOURNAL_VERSION,
                    row.events,
                )
            )
        for segment in write.segments:
            rows["insert_segment"].append((run_no, *astuple(segment)))
        for chunk in write.chunks:
            rows["put_chunk"].append((run_no, *astuple(chunk)))
        if write.snapshot is not None:
            rows["put_snapshot"].append((run_no, progress.seq, write.snapshot))
        for message in write.outbox:
            rows["insert_message"].append(astuple(message))
        for delivery in write.deliveries:
            rows["insert_delivery"].append(astuple(delivery))
        if write.byproducts is not None:
            for query, found in make_rows(write.byproducts).items():
                rows[query].extend([(run_no, *row) for row in found])

    def _add_run(self, rows: dict[str, list[Row]], write: RunWrite, progress: RunProgress) -> int:
        spec = write.spec
        assert spec is not None
        if spec.fork is not None and not self._find("find_run", spec.fork.origin):
            raise _Mismatch
        run_no = self._run_nos[spec.run_id] = self._next_run_no
        self._next_run_no += 1
        parent = (None, None, None, None) if spec.parent is None else astuple(spec.parent)
        key = spec.idempotency
        rows["insert_run"].append(
            (
                run_no,
                spec.run_id,
                spec.root_run_id,
                write.lease.shard,
                *parent,
                spec.flow_id,
                spec.flow_name,
                None if key is None else key.principal,
                None if key is None else key.key,
                spec.created_at_ms,
                *astuple(progress),
                spec.job_run_id,
                None if spec.fork is None else spec.fork.origin,
            )
        )
        rows["insert_spec"].append((run_no, _encode_spec(spec)))
        for name, value in spec.labels.items():
            rows["insert_label"].append((name, value, spec.run_id, run_no))
        return run_no

    def _find_run_no(self, write: RunWrite) -> int:
        run_no = self._run_nos.get(write.run_id)
        if run_no is None:
            run_no = self._db.value(QUERIES["find_run_no"], (write.run_id,))
            if run_no is None:
                raise _Mismatch
            self._run_nos[write.run_id] = run_no
        return run_no

    def _write_other(self, job: Job) -> None:
        match job:
            case PutJob():
                self._db.run(QUERIES["put_blob"], job.row)
            case SettleJob():
                self._db.run_many(QUERIES["delete_message"], job.messages)
            case RowsJob():
                for query, rows in job.rows:
                    self._db.run_many(QUERIES[query], rows)
            case DeleteJob():
                self._delete(job.run_ids)
            case NoteNamesJob():
                self._note_names(job.names)
            case RemoveBlobsJob():
                self._remove_blobs(job)
            case _:
                raise TypeError(f"unknown job {job!r}")

    def _delete(self, run_ids: Sequence[RunId]) -> None:
        db = self._db
        for run_id in run_ids:
            found = db.row(QUERIES["find_status"], (run_id,))
            if found is None:
                continue
            run_no, status = found
            if RunState(status) not in TERMINAL_RUN_STATES:
                raise conflicts.not_ended(run_id)
            for name in _ROWS_OF_A_RUN:
                db.run(QUERIES[name], (run_no,))
            db.run(QUERIES["delete_messages"], (run_id,))
            db.run(QUERIES["forget_deliveries"], (run_id,))  # to the webhook of its own
            self._run_nos.pop(run_id, None)
        for run_id in run_ids:
            if fork := self._find("find_fork", run_id):
                raise conflicts.needed_by_fork(run_id, fork)

    def _note_names(self, names: set[str] | None) -> None:
        if names is None:
            self._db.observe(None)
        else:
            self._db.observe(lambda content: names.update(find_names(content)))

    def _remove_blobs(self, job: RemoveBlobsJob) -> None:
        unused = [blob_id for blob_id in job.blob_ids if blob_id not in job.used]
        before = self._db.count_changes()
        self._db.run_many(QUERIES["delete_unused_blob"], [(blob_id, job.keep_s) for blob_id in unused])
        job.removed = self._db.count_changes() - before

    # --- one by one ---

    def _write_one_by_one(self, jobs: Sequence[Job]) -> None:
        for job in sorted(jobs, key=lambda job: isinstance(job, RemoveBlobsJob)):
            try:
                with self._db.savepoint():
                    if isinstance(job, CommitJob):
                        for part in job.parts:
                            part.result = self._write_alone(part)
                    else:
                        self._write_other(job)
            except MEDIUM_ERRORS:
                raise
            except Exception as error:
                job.error = error

    def _write_alone(self, part: Part) -> CommitResult:
        write, result = part.write, self._judge(part)
        if isinstance(result, Fenced):
            return result
        try:
            with self._db.savepoint():
                self._write_runs([part])
        except (_Mismatch, apsw.ConstraintError) as error:
            self._run_nos.pop(write.run_id, None)
            conflict = self._find_conflict(write)
            if conflict is None:
                raise error
            return result if self._is_there(part) else conflict
        return result

    def _is_there(self, part: Part) -> bool:
        """Whether this very write was made before, and its writer does not know."""
        part.encode()
        first = part.write.expected_seq + 1
        rows = self._db.rows(QUERIES["journal"], (part.write.run_id, first, 1))
        return part.row is not None and any(JournalRow(*row[:5]) == part.row for row in rows)

    def _find_conflict(self, write: RunWrite) -> Conflict | None:
        spec = write.spec
        if spec is None:
            seq = self._find("find_seq", write.run_id)
            if seq is None:
                return conflicts.missing(write)
            return None if seq == write.expected_seq else conflicts.moved(write, seq)
        if self._find("find_run", write.run_id):
            return conflicts.run_exists(write.run_id)
        if spec.fork is not None and not self._find("find_run", spec.fork.origin):
            return conflicts.origin_gone(spec.fork.origin)
        key, parent = spec.idempotency, spec.parent
        if key is not None and (existing := self._find("find_idempotency_key", key.principal, key.key)):
            return conflicts.idempotency_key_used(existing)
        if parent is not None and (existing := self._find("find_live_child", *astuple(parent))):
            return conflicts.child_exists(existing)
        return None

    def _find(self, query: str, *values: Any) -> Any:
        return self._db.value(QUERIES[query], values)


def _fence(jobs: Iterable[Job]) -> None:
    for job in jobs:
        if isinstance(job, CommitJob):
            for part in job.parts:
                part.result = Fenced()
        else:
            job.error = StoreUnavailable("Another runtime has taken the database over; this one must stop.")
