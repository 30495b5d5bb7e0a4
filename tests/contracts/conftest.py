from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.contracts.store_kit import KINDS, AnyStore, Kind, open_kind


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
async def store(kind: Kind, tmp_path: Path) -> AsyncGenerator[AnyStore, None]:
    async with open_kind(kind, tmp_path / "runs.db") as store:
        yield store
