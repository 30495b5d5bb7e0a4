"""A runtime that the tests of one file share, and a connection for each test."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.conformance.wire import RawClient, ServedRuntime, serve

BUILTINS_ONLY = {"plugins": {"builtin": {"type": "builtin"}}, "routes": {"/builtin": [{"plugin": "builtin"}]}}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServedRuntime]:
    with serve(tmp_path_factory.mktemp("runtime"), BUILTINS_ONLY) as runtime:
        yield runtime


@pytest.fixture
def client(runtime: ServedRuntime) -> Generator[RawClient]:
    with runtime.connect() as client:
        client.call("connect", {"protocolVersion": 1})
        yield client
