"""What SQLite's errors mean for the caller of a port: the medium refused, or what is there is damaged."""

from __future__ import annotations

from typing import Final

import apsw

from stepflow_runtime.ports import StoreCorrupt, StoreUnavailable

_ADVICE: Final[dict[type[apsw.Error], str]] = {
    apsw.FullError: "the disk is full; free some space",
    apsw.IOError: "the disk failed; check it and the system's log",
    apsw.BusyError: "another program holds a lock on it; close that program",
    apsw.LockedError: "another program holds a lock on it; close that program",
    apsw.CantOpenError: "it cannot be opened; check the path and the rights on its folder",
    apsw.ReadOnlyError: "it is read-only; check the rights on the file, its folder and the mount",
    apsw.PermissionsError: "access was denied; check the rights on the file and its folder",
    apsw.AuthError: "access was denied; check the rights on the file and its folder",
    apsw.NoMemError: "there is not enough memory",
}
_DAMAGED: Final = (apsw.CorruptError, apsw.NotADBError)

MEDIUM_ERRORS: Final[tuple[type[apsw.Error], ...]] = (*_ADVICE, *_DAMAGED)
"""Errors after which nothing else of the same transaction can be expected to succeed."""


def explain(error: apsw.Error, path: str) -> Exception:
    """The port's error for one of SQLite's; the same error if it is nobody's but ours."""
    if isinstance(error, _DAMAGED):
        return StoreCorrupt(f"The database {path} is damaged ({error}); restore it from a backup.")
    for kind, advice in _ADVICE.items():
        if isinstance(error, kind):
            return StoreUnavailable(f"The database {path} refused: {advice} ({error}).")
    return error
