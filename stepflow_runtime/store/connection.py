"""One connection to a SQLite database: the only door to apsw's, and what it needs is no more than this.

Opens no transaction on its own. Errors are apsw's; `failures` says what they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

BUSY_TIMEOUT_MS: Final = 2000

SQLITE_VERSION: Final[str] = apsw.sqlite_lib_version()
"""Of the library that apsw brings."""

Row = tuple[Any, ...]


class Connection:
    """Statements and their results, as Python values. One thread at a time may use it."""

    def __init__(self, path: Path) -> None:
        self._db: Any = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)  # its hints need Python 3.12
        self._db.set_busy_timeout(BUSY_TIMEOUT_MS)
        self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.run: Callable[..., object] = self._db.execute
        """Executes one statement with a sequence of values."""
        self.run_many: Callable[[str, Iterable[Row]], object] = self._db.executemany
        """Executes one statement for each row of values."""
        self.count_changes: Callable[[], int] = self._db.total_changes
        """How many rows were written since the connection was opened."""

    def observe(self, note: Callable[[bytes], object] | None) -> None:
        """From now on calls `note` with every text and every bytes that a statement is executed with."""
        execute, execute_many = self._db.execute, self._db.executemany
        if note is None:
            self.run, self.run_many = execute, execute_many
            return

        def look_at(row: Iterable[Any]) -> None:
            for value in row:
                if isinstance(value, bytes | str):
                    note(value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value)

        def run(sql: str, values: Sequence[Any] = ()) -> object:
            look_at(values)
            return execute(sql, values)

        def run_many(sql: str, rows: Iterable[Row]) -> object:
            rows = list(rows)
            for row in rows:
                look_at(row)
            return execute_many(sql, rows)

        self.run, self.run_many = run, run_many

    def set(self, pragma: str, value: str | int) -> None:
        self._db.pragma(pragma, value)

    def value(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The one column of the first row; `None` if there is no row."""
        row = self._db.execute(sql, values).fetchone()
        return None if row is None else row[0]

    def row(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        """The only row of at most one."""
        rows = self.rows(sql, values)
        return rows[0] if rows else None

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        rows: list[Row] = self._db.execute(sql, values).fetchall()
        return rows

    def each(self, sql: str) -> Iterable[Row]:
        """Rows one by one, without holding all of them."""
        rows: Iterable[Row] = self._db.execute(sql)
        return rows

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """Commits at the end, or undoes everything if that, or what is inside, fails."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def savepoint(self) -> Generator[None, None, None]:
        """Undoes what is inside if it fails; within a transaction."""
        with self._db:
            yield

    def on_commit(self, note_pages: Callable[[int], None]) -> None:
        """Calls `note_pages` with the length of the WAL after every commit; nothing is copied from it by itself."""

        def hook(_connection: Any, _name: str, pages: int) -> int:
            note_pages(pages)
            return int(apsw.SQLITE_OK)

        self._db.set_wal_hook(hook)

    def copy_wal(self) -> tuple[int, int]:
        """Copies what it can from the WAL without making anybody wait.

        Returns:
            The pages in the WAL, and how many of them have been copied.
        """
        total, copied = self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        return total, copied

    def copy_into(self, target: Connection) -> None:
        """Copies the whole database, as it is at one moment, into another one, which must be empty."""
        with target._db.backup("main", self._db, "main") as backup:
            backup.step(-1)

    def close(self) -> None:
        self._db.close()
