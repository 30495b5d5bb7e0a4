"""Each target for a few seconds, and with everything that found something before."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import web
from tests.fuzz.documents import corpus, documents
from tests.fuzz.targets import TARGETS

MAX_MEMORY: int = 64 * 1024 * 1024


@pytest.fixture(scope="module", autouse=True)
def _nothing_goes_on() -> Iterator[None]:
    yield
    web.close()


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_the_bytes_are_they_are_read_or_refused(name: str) -> None:
    # The target for HTTP bounds each request itself; the first of a runtime waits until that is there.
    @settings(max_examples=150, deadline=None if name == "http" else 2000, suppress_health_check=list(HealthCheck))
    @given(documents(name))
    def check(data: bytes) -> None:
        TARGETS[name](data)

    check()


@pytest.mark.parametrize("name", TARGETS)
def test_what_found_something_finds_nothing_any_more_and_takes_little_memory(name: str) -> None:
    examples = corpus(name)
    assert examples, "each target has something to begin with"
    for data in examples:
        tracemalloc.start()
        TARGETS[name](data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < MAX_MEMORY + 20 * len(data)


def test_a_broken_promise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness finds what it is for: here, a module that raises what it did not declare."""

    def read(text: str) -> None:
        raise KeyError(text)

    monkeypatch.setattr("tests.fuzz.targets.parse_path", read)

    @settings(max_examples=10, database=None, suppress_health_check=list(HealthCheck))
    @given(st.binary())
    def check(data: bytes) -> None:
        TARGETS["paths"](data)

    with pytest.raises(KeyError):
        check()
