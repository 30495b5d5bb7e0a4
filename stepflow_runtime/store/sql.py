"""The statements of the SQLite store, loaded from `queries.sql` by name, and the migrations beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from stepflow_runtime.ports import Delivery, RunProgress

_HERE: Final = Path(__file__).parent

PROGRESS_COLUMNS: Final = RunProgress.__struct_fields__
"""The columns of `runs` that hold a run's progress have the names of its fields."""


def _load_queries() -> dict[str, str]:
    text = (_HERE / "queries.sql").read_text("utf-8")
    progress = ", ".join(PROGRESS_COLUMNS)
    text = text.replace("{record}", f"spec, {progress}").replace("{progress}", progress)
    text = text.replace("{progress_values}", ",".join("?" * len(PROGRESS_COLUMNS)))
    text = text.replace("{delivery}", ", ".join(Delivery.__struct_fields__))
    blocks = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return {name: _strip(body) for name, body in zip(blocks[1::2], blocks[2::2], strict=True)}


def _strip(body: str) -> str:
    return re.sub(r"^--.*\n?", "", body, flags=re.MULTILINE).strip().rstrip(";")


def _load_migrations() -> tuple[str, ...]:
    return tuple(script.read_text("utf-8") for script in sorted((_HERE / "migrations").glob("*.sql")))


QUERIES: Final = _load_queries()
"""SQL by name."""

MIGRATIONS: Final = _load_migrations()
"""Scripts that bring a database from version n (`PRAGMA user_version`) to n + 1, by n."""
