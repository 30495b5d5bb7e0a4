"""Whether a failed attempt is followed by another one, and when. Pure.

There are two budgets, the component's (`onError: retry`) and the transport's, and one attempt counter (PROTOCOL §6).
Jitter is drawn from a hash of what is retried, so that the same run decides the same way when it is replayed.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

from msgspec import Struct

from stepflow_runtime.model.events import RetryCause
from stepflow_runtime.model.flow import Backoff, BackoffKind, ErrorAction, OnError
from stepflow_runtime.model.outcome import COMPONENT_FAILURES, Failure, is_transport_failure

JITTER: Final = 0.25
"""A delay is stretched by up to this share of it."""


def delay_ms(backoff: Backoff, retry: int, jitter_of: str) -> int:
    """The delay before the `retry`-th retry (from 1), in milliseconds. `jitter_of` names what is retried."""
    match backoff.type:
        case BackoffKind.CONSTANT:
            delay = backoff.min_delay_ms
        case BackoffKind.EXPONENTIAL:
            delay = int(backoff.min_delay_ms * min(backoff.factor ** min(retry - 1, 64), 1e9))
        case BackoffKind.FIBONACCI:
            factor, following = 1, 1
            for _ in range(min(retry - 1, 64)):
                factor, following = following, factor + following
            delay = backoff.min_delay_ms * factor
    delay = min(delay, backoff.max_delay_ms)
    return delay + int(delay * JITTER * crc32(jitter_of.encode()) / 2**32)


class RetryPolicy(Struct, frozen=True, rename="camel"):
    """`retry:` of the configuration."""

    transport_max_retries: int = 3
    backoff: Backoff = Backoff()


class Retry(Struct, frozen=True):
    """Another attempt follows after `delay_ms`."""

    cause: RetryCause
    delay_ms: int


def decide(
    failure: Failure,
    *,
    policy: RetryPolicy,
    on_error: OnError,
    component_failures: int,
    transport_failures: int,
    jitter_of: str,
) -> Retry | None:
    """Decides after a failed attempt.

    Args:
        failure: Why it failed.
        policy: The transport's budget and the default back-off.
        on_error: The step's.
        component_failures: How often the step failed in its component before.
        transport_failures: How often its transport failed before.
        jitter_of: Names run, item, step and attempt.

    Returns:
        The retry, or `None` when the failure is final.
    """
    if is_transport_failure(failure):
        if transport_failures < policy.transport_max_retries:
            return Retry(RetryCause.TRANSPORT, delay_ms(policy.backoff, transport_failures + 1, jitter_of))
        return None
    may_retry = on_error.action is ErrorAction.RETRY and component_failures < on_error.max_retries
    if failure.code in COMPONENT_FAILURES and may_retry:
        backoff = on_error.backoff or policy.backoff
        return Retry(RetryCause.COMPONENT, delay_ms(backoff, component_failures + 1, jitter_of))
    return None
