"""Blobs that nothing can reach any more, and their removal.

A run reaches its flow, and whatever blob is named anywhere in what is stored of it: its inputs, its journal, its
overrides. A blob reaches the blobs that its content names. What was put lately stays, as somebody may be about to use
it. A name is looked for as text, wherever it stands: that may keep too much, and never too little.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw
from msgspec import Struct

from stepflow_runtime.model.ids import BlobId
from stepflow_runtime.store import database
from stepflow_runtime.store.connection import Connection
from stepflow_runtime.store.failures import explain
from stepflow_runtime.store.sql import QUERIES

_BLOB_ID: Final = re.compile(rb"blake3:[0-9a-f]{64}")
_ESCAPE: Final = re.compile(rb"\\u00([0-7][0-9a-fA-F])")

_PLACES: Final = (
    "named_by_specs",
    "named_by_journals",
    "named_by_inputs",
    "named_by_snapshots",
    "named_by_streams",
    "named_by_checkpoints",
    "named_by_artifacts",
    "named_by_outbox",
    "named_by_registry",
)


class Collected(Struct, frozen=True):
    """What was removed, and what is left."""

    removed: int
    removed_bytes: int
    kept: int


def collect_garbage(path: Path, *, keep_s: int, pretend: bool = False) -> Collected:
    """Removes blobs that no run can reach and that were not put lately.

    Args:
        path: A database that no runtime has.
        keep_s: Blobs that were put within so many seconds stay.
        pretend: Remove nothing, only tell what would be removed.

    Raises:
        StoreUnavailable: A runtime has it, it is not there, or the medium refused. Nothing was removed.
        StoreCorrupt: It is damaged, of another program or of a newer release.
    """
    with closing(database.connect_reader(path)) as reader:
        database.identify(reader, path)
    with database.hold_lock(path):
        database.migrate(path)
        with closing(database.connect_writer(path, "FULL")) as connection:
            try:
                with connection.transaction():
                    return _collect(connection, keep_s, pretend)
            except apsw.Error as error:
                raise explain(error, str(path)) from error


class Interrupted(Exception):
    """Nobody wants to know any more."""


def find_garbage(path: Path, *, keep_s: int, is_stopped: Callable[[], bool]) -> list[BlobId]:
    """The blobs that no run can reach and that were not put lately. A runtime may write meanwhile.

    Raises:
        Interrupted: `is_stopped` said so.
        StoreUnavailable: The medium refused.
        StoreCorrupt: The database is damaged.
    """

    def check() -> None:
        if is_stopped():
            raise Interrupted

    with closing(database.connect_reader(path)) as connection:
        try:
            reachable = _find_reachable(connection, keep_s, check)
            return [BlobId(one) for one, _ in connection.rows(QUERIES["blob_sizes"]) if one not in reachable]
        except apsw.Error as error:
            raise explain(error, str(path)) from error


def _collect(connection: Connection, keep_s: int, pretend: bool) -> Collected:
    reachable = _find_reachable(connection, keep_s)
    doomed: list[tuple[str, int]] = [
        (blob_id, size) for blob_id, size in connection.rows(QUERIES["blob_sizes"]) if blob_id not in reachable
    ]
    if not pretend:
        connection.run_many(QUERIES["delete_blob"], [(blob_id,) for blob_id, _ in doomed])
    count: int = connection.value(QUERIES["count_blobs"])
    return Collected(len(doomed), sum(size for _, size in doomed), count - (len(doomed) if pretend else 0))


def _find_reachable(connection: Connection, keep_s: int, check: Callable[[], None] = lambda: None) -> set[str]:
    roots = {blob_id for (blob_id,) in connection.rows(QUERIES["flows_of_runs"])}
    roots |= {blob_id for (blob_id,) in connection.rows(QUERIES["blobs_put_lately"], (keep_s,))}
    for place in _PLACES:
        for (content,) in connection.each(QUERIES[place]):
            check()
            roots.update(find_names(content))
    reachable: set[str] = set()
    frontier = roots
    while frontier:
        reachable |= frontier
        named: set[str] = set()
        for blob_id in frontier:
            check()
            named.update(find_names(connection.value(QUERIES["blob_content"], (blob_id,)) or b""))
        frontier = named - reachable
    return reachable


def find_names(content: bytes) -> Iterator[str]:
    """The ids of blobs that stand in some content, also where JSON escapes their characters."""
    if b"\\u00" in content:
        content = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), content)
    return (match[0].decode() for match in _BLOB_ID.finditer(content))
