"""What runs make beside their results is found through indexes, however much of it there is."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from stepflow_runtime.store.sql import MIGRATIONS, QUERIES


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("stream_writes", "stream_writes_by_index"),
        ("stream_writes_of", "stream_writes_by_writer"),
        ("has_stream_write", "stream_writes_by_key"),
        ("checkpoint", "sqlite_autoindex_checkpoints_1"),
        ("count_checkpoints", "sqlite_autoindex_checkpoints_1"),
        ("artifacts", "sqlite_autoindex_artifacts_1"),
        ("tree_journal", "COVERING INDEX journal_by_seq"),
        ("tree_end", "COVERING INDEX journal_by_seq"),
    ],
)
def test_a_statement_searches_an_index_and_scans_nothing(query: str, index: str) -> None:
    sql = QUERIES[query]
    with closing(sqlite3.connect(":memory:")) as connection:
        for migration in MIGRATIONS:
            connection.executescript(migration)
        plan = str(connection.execute(f"EXPLAIN QUERY PLAN {sql}", ("x",) * sql.count("?")).fetchall())
    assert index in plan
    assert "SCAN" not in plan
