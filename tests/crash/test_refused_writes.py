"""The medium refuses each of the runtime's writes: it is full, it fails, or it writes and its answer is lost.

One transaction fails, or several in a row; the runtime lives on. Who submits is told, and comes again; what runs waits.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest
from msgspec import Struct

from stepflow_runtime.store.connection import Connection
from tests.crash.lives import Lives, check_results, live, run


class Refusal(Struct, frozen=True):
    """How transactions fail.

    Args:
        error: What SQLite says.
        is_applied: Whether they were committed all the same.
        times: How many do in a row.
    """

    error: type[apsw.Error]
    is_applied: bool = False
    times: int = 1


REFUSALS = {
    "full": Refusal(apsw.FullError),
    "full for a while": Refusal(apsw.FullError, times=4),
    "failing": Refusal(apsw.IOError),
    "answer lost": Refusal(apsw.IOError, is_applied=True),
    "answers lost": Refusal(apsw.IOError, is_applied=True, times=3),
}


class Medium:
    """Counts transactions, and fails some of them.

    Args:
        first: The number of the first that fails, from 1; 0 for none.
        refusal: How.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, first: int, refusal: Refusal) -> None:
        self.transactions = 0
        self._failing = range(first, first + refusal.times) if first else range(0)
        begin = Connection.transaction

        @contextmanager
        def transaction(connection: Connection) -> Generator[None]:
            self.transactions += 1
            fails = self.transactions in self._failing
            with begin(connection):
                yield
                if fails and not refusal.is_applied:
                    raise refusal.error("injected")
            if fails:
                raise refusal.error("injected")

        monkeypatch.setattr(Connection, "transaction", transaction)


def work_on(path: Path, first: int, refusal: Refusal) -> int:
    """Lets a runtime work over a medium that fails, checks all, and returns the number of transactions."""
    lives = Lives(path)
    with pytest.MonkeyPatch.context() as monkeypatch:
        medium = Medium(monkeypatch, first, refusal)
        check_results(run(live, lives))
    assert {attempt for *_, attempt in lives.executed} <= {1, 2}, "nothing went again but what failed"
    return medium.transactions


@pytest.mark.parametrize("how", REFUSALS)
def test_whichever_write_is_refused_the_work_is_done_once(how: str, tmp_path: Path) -> None:
    opening = 3  # a runtime whose database cannot be opened does not start
    last = work_on(tmp_path / "clean.db", 0, REFUSALS[how])
    assert last >= 30
    for first in range(opening, last + 1):
        work_on(tmp_path / f"{first}.db", first, REFUSALS[how])
