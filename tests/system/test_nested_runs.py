"""Runs within runs within runs, with every limit at 1: they end."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest

from tests.conformance.wire import Json, RawClient, make_flow, serve
from tests.system.servers import NESTING, config

LIMITS: Final = {
    "many slots": {},
    "one slot": {"maxInFlight": 1},
    "one of everything": {"maxInFlight": 1, "maxHandledRequests": 1, "maxParkedRequests": 1, "maxHandledBytes": 700},
}


@pytest.fixture(params=LIMITS)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[RawClient]:
    parts = {**config(tmp_path, NESTING, storage=True), "limits": LIMITS[request.param]}
    with serve(tmp_path, parts) as runtime, runtime.connect() as client:
        yield client


def test_sixteen_levels_end_with_one_process_and_a_concurrency_of_one(client: RawClient) -> None:
    flow = make_flow("/python/nest")
    status = client.run(flow, [{"levels": 9}], maxConcurrency=1)
    assert status["results"][0]["result"] == {"outcome": "success", "value": 9}
    deepest = chain(client, 16)
    assert deepest["outcome"] == "success", deepest


def test_a_seventeenth_level_is_refused_and_the_parent_fails_cleanly(client: RawClient) -> None:
    result = chain(client, 17)
    assert result["outcome"] == "failed"
    assert "maxRunDepth is 16" in result["error"]["message"]


def chain(client: RawClient, levels: int) -> Json:
    """A chain of runs, each with one child, which the built-in `eval` submits."""
    flow: Json = {"steps": [], "output": {"$literal": "bottom"}}
    for _ in range(levels - 1):
        step = {"id": "e", "component": "/builtin/eval", "input": {"flow": {"$literal": flow}, "input": 0}}
        flow = {"steps": [step], "output": {"$step": "e", "path": "$.result"}}
    result: Json = client.run(flow, [0], maxConcurrency=1)["results"][0]["result"]
    while result["outcome"] == "success" and isinstance(result["value"], dict):
        result = result["value"]
    return result
