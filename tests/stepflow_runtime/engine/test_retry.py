"""When a failed attempt is followed by another one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepflow_runtime.engine.retry import JITTER, RetryPolicy, decide, delay_ms
from stepflow_runtime.model.flow import Backoff, BackoffKind, ErrorAction, OnError
from stepflow_runtime.model.outcome import Failure


@given(
    kind=st.sampled_from(list(BackoffKind)),
    least=st.integers(0, 100_000),
    most=st.integers(0, 1_000_000),
    factor=st.floats(1, 10),
    retry=st.integers(1, 1000),
    name=st.text(max_size=20),
)
def test_a_delay_stays_within_its_bounds(
    kind: BackoffKind, least: int, most: int, factor: float, retry: int, name: str
) -> None:
    backoff = Backoff(type=kind, min_delay_ms=least, max_delay_ms=most, factor=factor)
    delay = delay_ms(backoff, retry, name)
    assert min(least, most) <= delay <= most * (1 + JITTER)
    assert delay == delay_ms(backoff, retry, name)


@pytest.mark.parametrize(
    ("kind", "shares"),
    [
        (BackoffKind.CONSTANT, [1, 1, 1, 1, 1]),
        (BackoffKind.EXPONENTIAL, [1, 2, 4, 8, 16]),
        (BackoffKind.FIBONACCI, [1, 1, 2, 3, 5]),
    ],
)
def test_delays_grow_as_their_kind_says(kind: BackoffKind, shares: list[int]) -> None:
    backoff = Backoff(type=kind, min_delay_ms=1000, max_delay_ms=1_000_000, factor=2)
    for retry, share in enumerate(shares, 1):
        assert share * 1000 <= delay_ms(backoff, retry, "x") <= share * 1000 * (1 + JITTER)


def test_what_is_retried_at_once_is_spread() -> None:
    backoff = Backoff(type=BackoffKind.CONSTANT, min_delay_ms=1000, max_delay_ms=1000)
    assert len({delay_ms(backoff, 1, f"run/{item}/a/1") for item in range(100)}) > 50


@pytest.mark.parametrize(
    ("data", "is_retried"),
    [({"stderr": "oh"}, True), ({"limit": "pingTimeoutMs"}, True), ({"limit": "unavailableTimeoutMs"}, False)],
)
def test_a_lost_server_is_another_attempt_and_one_that_never_came_is_none(
    data: dict[str, object], is_retried: bool
) -> None:
    retry = decide(
        Failure("UNREACHABLE", "nobody there", data),
        policy=RetryPolicy(),
        on_error=OnError(ErrorAction.RETRY),
        component_failures=0,
        transport_failures=0,
        jitter_of="x",
    )
    assert (retry is not None) == is_retried
