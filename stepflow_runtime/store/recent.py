"""The runs that were created last, whole, while they are small: who reads what was just written asks no database.

Most runs that somebody waits for are read within milliseconds of their end, and each look into the database costs as
much as the evaluation of a step. What is here was committed; what is not, or no longer, is in the database. Used on the
trio thread alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.ports import JournalRow, ResultChunk, RunProgress, RunRecord
from stepflow_runtime.store.jobs import Part

MAX_BYTES: Final = 8 * 1024 * 1024
"""Of all runs together, about."""

MAX_RUN_BYTES: Final = 64 * 1024
"""A run that has grown beyond it is read from the database."""

_OVERHEAD: Final = 1024
"""Bytes of a run besides its events and chunks."""


class RecentRun:
    """One run from its first event on. Its methods answer as those of `Store` do."""

    __slots__ = ("_chunks", "_rows", "_spec", "progress", "size")

    def __init__(self, spec: RunSpec, progress: RunProgress) -> None:
        self._spec = spec
        self._rows: list[JournalRow] = []
        self._chunks: dict[int, ResultChunk] = {}
        self.progress = progress
        self.size = _OVERHEAD

    def add(self, part: Part) -> None:
        """A commit brought it further."""
        self.progress = part.progress
        if part.row is not None:
            self._rows.append(part.row)
            self.size += len(part.row.events)
        for chunk in part.write.chunks:
            self._chunks[chunk.chunk] = chunk
            self.size += len(chunk.refs)

    @property
    def record(self) -> RunRecord:
        return RunRecord(self._spec, self.progress)

    def journal(self, from_seq: int, max_rows: int) -> list[JournalRow]:
        return list(islice((row for row in self._rows if row.last_seq >= from_seq), max_rows))

    def journal_at_completion(self, ordinal: int, max_rows: int) -> list[JournalRow]:
        ends = [row.completions_before for row in self._rows[1:]] + [self.progress.completions]
        for row, end in zip(self._rows, ends, strict=True):
            if end > ordinal:
                return self.journal(row.last_seq, max_rows)
        return []

    def chunks(self, first: int, last: int) -> list[ResultChunk]:
        return [self._chunks[number] for number in sorted(self._chunks) if first <= number <= last]


class RecentRuns:
    """As many as `max_bytes` allow, the oldest of them forgotten first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._runs: dict[RunId, RecentRun] = {}
        self._size = 0
        self.find = self._runs.get

    def note(self, part: Part) -> None:
        """A part of a commit is durable."""
        write = part.write
        run = self._runs.get(write.run_id)
        if run is None:
            if write.spec is None:
                return
            run = self._runs[write.run_id] = RecentRun(write.spec, part.progress)
            self._size += run.size
        elif part.row is not None and part.row.last_seq <= run.progress.seq:
            return  # it was made before, and is made again because its answer was lost
        before = run.size
        run.add(part)
        self._size += run.size - before
        if run.size > MAX_RUN_BYTES:
            self.forget([write.run_id])
        while self._size > self._max_bytes:
            self.forget([next(iter(self._runs))])

    def forget(self, run_ids: Iterable[RunId]) -> None:
        """They are read from the database from now on."""
        for run_id in run_ids:
            run = self._runs.pop(run_id, None)
            if run is not None:
                self._size -= run.size
