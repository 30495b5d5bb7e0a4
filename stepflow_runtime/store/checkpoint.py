"""Moves pages from the WAL into the database, off the path of commits.

A thread with a connection of its own copies what the WAL holds while commits go on. As those append to it meanwhile, it
could go on for ever without coming to the end, and only at the end can the WAL be written from its start again; so the
writer copies the small rest itself, between two commits and after it has woken its waiters.
"""

from __future__ import annotations

import threading
from typing import Final

import apsw

PAGES: Final = 2000
"""A WAL of so many pages is due: 8 MB."""


class Checkpointer:
    """Watches the WAL of a writer's connection and keeps it short."""

    def __init__(self, writer: apsw.Connection, own: apsw.Connection, *, inline_only: bool = False) -> None:
        self._writer = writer
        self._own = own
        self._pages = 0
        self._rest_is_small = False
        self._wanted = threading.Event()
        self._closing = False
        writer.set_wal_hook(self._note_pages)
        self._thread = threading.Thread(target=self._serve, name="store-checkpoint", daemon=True)
        if not inline_only:
            self._thread.start()

    def _note_pages(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def wake_if_due(self) -> None:
        """After a commit, wherever it ran: has the thread begin if the WAL is long."""
        if self._pages >= PAGES and not self._rest_is_small and not self._wanted.is_set():
            self._wanted.set()

    def help_in_writer(self) -> None:
        """After a commit in the writer's thread: copies the rest if the thread has copied the bulk."""
        if self._rest_is_small:
            self._rest_is_small = False
            self.run_if_due()
        else:
            self.wake_if_due()

    def run_if_due(self) -> None:
        """Copies at once what the WAL holds, if it is long. Called where the writer's connection may be used."""
        if self._pages >= PAGES:
            _copy(self._writer)

    def _serve(self) -> None:
        while True:
            self._wanted.wait()
            if self._closing:
                return
            total, copied = _copy(self._own)
            self._rest_is_small = copied > 0 and (copied < total or self._pages > total)
            self._wanted.clear()
            if self._closing:
                return

    def close(self) -> None:
        """Ends the thread and copies everything. The writer's own thread has ended."""
        self._closing = True
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join()
        _copy(self._own)


def _copy(connection: apsw.Connection) -> tuple[int, int]:
    """Pages in the WAL, and how many of them are copied now; an error is left to the next try."""
    try:
        return connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    except apsw.Error:
        return (0, 0)
