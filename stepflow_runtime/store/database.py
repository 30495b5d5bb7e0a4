"""The database file: who may open it, whether it is ours, its schema and its settings.

Below `sqlite`, which owns the connections that are made here. A file that is refused is left as it was.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

import apsw
from msgspec import Struct

from stepflow_runtime.ports import StoreCorrupt, StoreUnavailable
from stepflow_runtime.store.connection import Connection
from stepflow_runtime.store.failures import explain
from stepflow_runtime.store.sql import MIGRATIONS, QUERIES

Synchronous = Literal["FULL", "NORMAL", "OFF"]
"""`FULL` survives a loss of power; `NORMAL` may lose the last commits then, `OFF` the whole file."""

APPLICATION_ID: Final = 0x53544657
"""Marks the file as ours: "STFW"."""

CACHE_KIB: Final = 8 * 1024
"""Of each connection. More makes nothing faster: what is read was mostly just written, and memory grows with it."""


@contextmanager
def hold_lock(path: Path) -> Generator[None, None, None]:
    """Keeps every other runtime off the database, by a lock file beside it; makes its folder if need be.

    Raises:
        StoreUnavailable: Another runtime has it, or the place cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailable(f"The database {path} cannot be opened: {error}; check the path and rights.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            message = f"Another runtime uses the database {path}; stop it first, or give this one another database."
            raise StoreUnavailable(message) from error
        yield
    finally:
        os.close(descriptor)


class Boot(Struct, frozen=True):
    """The start of a runtime on a database.

    Args:
        epoch: Its number.
        after_clean_stop: Whether the one before ended in order, or there was none.
    """

    epoch: int
    after_clean_stop: bool


def prepare(path: Path) -> Boot:
    """Makes or migrates the database and takes the next epoch.

    Raises:
        StoreCorrupt: It is no database of ours, or one of a newer release.
        StoreUnavailable: The medium refused.
    """
    with suppress(FileExistsError):
        create(path)
    connection = _open(path)
    try:
        _check_identity(connection, path)
        connection.set("journal_mode", "wal")
        with connection.transaction():
            _migrate(connection)
            after_clean_stop = bool(connection.value(QUERIES["was_stopped"]))
            connection.run(QUERIES["take_epoch"])
            return Boot(connection.value(QUERIES["read_epoch"]), after_clean_stop)
    except apsw.Error as error:
        raise explain(error, str(path)) from error
    finally:
        connection.close()


def _migrate(connection: Connection) -> None:
    for version in range(_read_version(connection), len(MIGRATIONS)):
        connection.run(MIGRATIONS[version])
        connection.set("user_version", version + 1)
        connection.set("application_id", APPLICATION_ID)


def migrate(path: Path) -> int:
    """Brings a database that is there to the schema of this release, in one transaction.

    Returns:
        The version of that.
    """
    connection = _open(path)
    try:
        with connection.transaction():
            _migrate(connection)
        return len(MIGRATIONS)
    except apsw.Error as error:
        raise explain(error, str(path)) from error
    finally:
        connection.close()


def identify(connection: Connection, path: Path) -> int:
    """The version of a database of ours.

    Raises:
        StoreCorrupt: It is damaged, of another program, without content, or of a newer release.
        StoreUnavailable: The medium refused.
    """
    try:
        _check_identity(connection, path)
        version = _read_version(connection)
    except apsw.Error as error:
        raise explain(error, str(path)) from error
    if version == 0:
        raise StoreCorrupt(f"The file {path} is empty; give the path of a database.")
    return version


def note_stop(connection: Connection, boot: Boot) -> None:
    """Notes that a boot ended in order; if the medium refuses, it will seem that it did not."""
    with suppress(apsw.Error):
        connection.run(QUERIES["note_stop"], (boot.epoch,))


def create(path: Path) -> None:
    """Makes an empty file that only its owner may read.

    Raises:
        FileExistsError: It is there.
        StoreUnavailable: It cannot be made.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise
    except OSError as error:
        raise StoreUnavailable(f"The database {path} cannot be made: {error}; check the path and rights.") from error


def _open(path: Path) -> Connection:
    try:
        return Connection(path)
    except apsw.Error as error:
        raise explain(error, str(path)) from error


def _check_identity(connection: Connection, path: Path) -> None:
    is_new = connection.value("SELECT count(*) = 0 FROM sqlite_schema")
    if not is_new and connection.value("PRAGMA application_id") != APPLICATION_ID:
        raise StoreCorrupt(f"The file {path} is a database of another program; give another path.")
    version = _read_version(connection)
    if version > len(MIGRATIONS):
        raise StoreCorrupt(
            f"The database {path} has schema version {version}, and this release knows {len(MIGRATIONS)}: "
            "use the release that wrote it, or a newer one."
        )
    if not is_new and version < 1:
        raise StoreCorrupt(f"The database {path} has no schema version; it was not written by a release.")


def _read_version(connection: Connection) -> int:
    version: int = connection.value("PRAGMA user_version")
    return version


def connect_writer(path: Path, synchronous: Synchronous) -> Connection:
    """A connection that writes, or copies from the WAL. The WAL is re-used and never cut: that saves a third of a
    commit."""
    connection = _connect(path)
    connection.set("synchronous", synchronous)
    connection.set("wal_autocheckpoint", 0)
    return connection


def connect_reader(path: Path) -> Connection:
    connection = _connect(path)
    connection.set("query_only", 1)
    return connection


def connect_copy(path: Path) -> Connection:
    """A connection to a file that becomes a copy."""
    return _open(path)


def _connect(path: Path) -> Connection:
    connection = _open(path)
    try:
        connection.set("temp_store", "memory")
        connection.set("cache_size", -CACHE_KIB)
        connection.set("journal_size_limit", -1)
    except apsw.Error as error:
        connection.close()
        raise explain(error, str(path)) from error
    return connection
