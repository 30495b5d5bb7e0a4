"""Moves pages from the WAL into the database, off the path of commits.

A thread with a connection of its own copies what the WAL holds while commits go on. As those append to it meanwhile, it
could go on for ever without coming to the end, and only at the end can the WAL be written from its start again; so the
writer copies the small rest itself, between two commits and after it has woken its waiters.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final

import apsw

from stepflow_runtime.store.connection import Connection

PAGES: Final = 2000
"""A WAL of so many pages is due: 8 MB."""


class Checkpointer:
    """Watches the WAL of a writer's connection and keeps it short."""

    def __init__(self, writer: Connection, own: Connection, *, inline_only: bool = False) -> None:
        self._writer = writer
        self._own = own
        self._pages = 0
        self._rest_is_small = inline_only
        self._inline_only = inline_only
        self._wanted = threading.Event()
        self._closing = False
        writer.on_commit(self._note_pages)
        self._thread = threading.Thread(target=self._serve, name="store-checkpoint", daemon=True)
        if not inline_only:
            self._thread.start()

    def _note_pages(self, pages: int) -> None:
        self._pages = pages

    def follow_commit(self) -> None:
        """After a commit, where it ran: begins to copy a long WAL, or ends it."""
        if self._pages < PAGES:
            return
        if self._rest_is_small:
            self._rest_is_small = self._inline_only
            _copy(self._writer)
        elif not self._wanted.is_set():
            self._wanted.set()

    def _serve(self) -> None:
        while True:
            self._wanted.wait()
            if self._closing:
                return
            _copy(self._own)
            self._rest_is_small = True
            self._wanted.clear()

    def close(self) -> None:
        """Ends the thread and copies everything. The writer's own thread has ended."""
        self._closing = True
        self._wanted.set()
        if not self._inline_only:
            self._thread.join()
        _copy(self._own)


def _copy(connection: Connection) -> None:
    with suppress(apsw.Error):  # the WAL only grows; the next commit that fails says why
        connection.copy_wal()
