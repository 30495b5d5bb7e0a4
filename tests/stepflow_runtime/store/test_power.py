"""A loss of power takes nothing that was acknowledged: SQLite is told to sync every commit."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepflow_runtime.store.connection import Connection
from stepflow_runtime.store.sqlite import open_sqlite
from tests.contracts.store_kit import create

FULL = 2


async def test_every_commit_is_synced_unless_something_else_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrote: dict[Connection, int] = {}
    transaction = Connection.transaction

    def note(connection: Connection) -> object:
        wrote[connection] = connection.value("PRAGMA synchronous")
        return transaction(connection)

    monkeypatch.setattr(Connection, "transaction", note)
    for synchronous, expected in (({}, FULL), ({"synchronous": "OFF"}, 0)):
        async with open_sqlite(tmp_path / f"{expected}.db", **synchronous) as store:  # type: ignore[arg-type]
            wrote.clear()
            await create(store, 1)
            assert list(wrote.values()) == [expected]
