"""Care for a database file from outside, also while a runtime has it: is it sound, and a copy of it.

Knows pages and versions; whether what is in them fits together is the business of `services.audit`.
"""

from __future__ import annotations

import os
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import apsw
from msgspec import Struct

from stepflow_runtime.ports import StoreCorrupt, StoreUnavailable
from stepflow_runtime.store import database
from stepflow_runtime.store.failures import explain
from stepflow_runtime.store.sql import MIGRATIONS

MAX_DAMAGES: Final = 100
"""Of one database that are told."""


class Soundness(Struct, frozen=True):
    """What SQLite says about a database.

    Args:
        version: Of its schema; 0 if that cannot be read.
        latest: The version that this release writes.
        damages: A sentence each.
    """

    version: int
    latest: int
    damages: tuple[str, ...]


def read_version(path: Path) -> int:
    """The version of a database's schema; reads next to nothing, and writes nothing.

    Raises:
        StoreUnavailable: It is not there, locked, or the medium refused.
        StoreCorrupt: It is damaged, of another program or of a newer release.
    """
    with closing(database.connect_reader(path)) as connection:
        return database.identify(connection, path)


def examine(path: Path) -> Soundness:
    """Reads every page, and writes nothing.

    Raises:
        StoreUnavailable: It is not there, or the medium refused.
        StoreCorrupt: It is of another program or of a newer release.
    """
    with closing(database.connect_reader(path)) as connection:
        version = 0
        try:
            version = database.identify(connection, path)
            found = [str(line) for (line,) in connection.rows(f"PRAGMA integrity_check({MAX_DAMAGES})")]
        except StoreCorrupt as error:
            if not isinstance(error.__cause__, apsw.Error):
                raise
            found = [str(error.__cause__)]
        except apsw.Error as error:
            if not isinstance(explain(error, str(path)), StoreCorrupt):
                raise explain(error, str(path)) from error
            found = [str(error)]
    return Soundness(version, len(MIGRATIONS), () if found == ["ok"] else tuple(found))


def migrate(path: Path) -> tuple[int, int]:
    """Brings a database to the schema of this release.

    Returns:
        The versions before and after.

    Raises:
        StoreUnavailable: It is not there, a runtime has it, or the medium refused. It is as it was.
        StoreCorrupt: It is damaged, of another program or of a newer release. It is as it was.
    """
    with closing(database.connect_reader(path)) as connection:
        before = database.identify(connection, path)
    with database.hold_lock(path):
        after = database.migrate(path)
    return before, after


def back_up(path: Path, target: Path) -> int:
    """Copies a database as it is at one moment, while runs go on. The copy is whole, or not there.

    Returns:
        Its size in bytes.

    Raises:
        FileExistsError: There is a target already.
        StoreUnavailable: There is no database, or a medium refused.
        StoreCorrupt: It is damaged, of another program or of a newer release.
    """
    if target.exists():
        raise FileExistsError(f"{target} is there already; give another name, or remove it first.")
    part = target.with_name(target.name + ".part")
    with closing(database.connect_reader(path)) as source:
        database.identify(source, path)
        try:
            with suppress(FileNotFoundError):
                part.unlink()
            database.create(part)
            with closing(database.connect_copy(part)) as copy:
                source.copy_into(copy)
                damages = copy.rows("PRAGMA quick_check(1)")
            if damages != [("ok",)]:
                raise StoreUnavailable(f"The copy {target} is not sound ({damages[0][0]}); check the disk.")
            _sync(part)
            part.rename(target)
            _sync(target.parent)
        except apsw.Error as error:
            raise explain(error, str(target)) from error
        except OSError as error:
            raise StoreUnavailable(f"The copy {target} cannot be written: {error}.") from error
        finally:
            with suppress(FileNotFoundError):
                part.unlink()
    return target.stat().st_size


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
