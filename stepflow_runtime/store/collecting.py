"""Removal of unreachable blobs while a runtime works, beside its commits.

What can be reached is found on a thread with a connection of its own, as `garbage` does it, and that takes a while. So
from before it begins until the last blob is removed, the writer notes every name of a blob that it writes, wherever it
stands: what comes to be reachable meanwhile is noted before it is committed, and the same thread removes only what was
not. Removal goes in small jobs among the others, so that no commit waits for long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import trio

from protocol.types import BlobType
from stepflow_runtime.model.ids import BlobId
from stepflow_runtime.ports import StoreUnavailable
from stepflow_runtime.store.garbage import find_garbage
from stepflow_runtime.store.jobs import NoteNamesJob, PutJob, RemoveBlobsJob
from stepflow_runtime.store.writer import Writer

BATCH: Final = 100
"""Blobs that one job removes."""


class Collector:
    """Removes blobs of one database.

    Args:
        path: The database.
        writer: Its writer.
    """

    def __init__(self, path: Path, writer: Writer) -> None:
        self._path = path
        self._writer = writer
        self._used: set[str] | None = None
        self._condemned: frozenset[BlobId] = frozenset()

    async def collect(self, keep_s: int, spare: Callable[[], Iterable[BlobId]]) -> int:
        """Removes blobs that no run can reach and that were not put within `keep_s` seconds.

        Args:
            keep_s: How long what was put stays.
            spare: What else is in use, asked again and again.

        Returns:
            How many were removed.

        Raises:
            StoreUnavailable: The medium refused; what was removed is removed.

        Cancellation: what was not removed stays.
        """
        used = self._used = set[str]()
        stop = threading.Event()
        removed = 0
        try:
            await self._writer.write(NoteNamesJob(used))
            search = partial(find_garbage, self._path, keep_s=keep_s, is_stopped=stop.is_set)
            found = await trio.to_thread.run_sync(search, abandon_on_cancel=True)
            for at in range(0, len(found), BATCH):
                used.update(spare())
                self._condemned = frozenset(found[at : at + BATCH])
                job = RemoveBlobsJob(found[at : at + BATCH], used, keep_s)
                await self._writer.write(job)
                removed += job.removed
        finally:
            stop.set()
            self._used, self._condemned = None, frozenset()
            with trio.CancelScope(shield=True), suppress(StoreUnavailable):
                await self._writer.write(NoteNamesJob(None))
        return removed

    async def note_read(self, blob_id: BlobId, blob: tuple[bytes, BlobType] | None) -> None:
        """Who reads a blob may be about to name it: it stays, and one that is just being removed is put again."""
        if self._used is not None and blob is not None:
            self._used.add(blob_id)
            if blob_id in self._condemned:
                await self._writer.write(PutJob(blob_id, *blob))
