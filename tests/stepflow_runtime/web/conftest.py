from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest

from tests.stepflow_runtime.web.kit import open_web


@pytest.fixture
async def web(tmp_path: Path) -> AsyncGenerator[httpx.AsyncClient]:
    async with open_web(tmp_path) as client:
        yield client
