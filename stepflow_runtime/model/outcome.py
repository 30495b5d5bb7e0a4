"""How an execution of a step can end: with an output, with a failure, by leaving until it is resumed, or unfinished."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET, Struct

from protocol.errors import ItemErrorCode
from stepflow_runtime.model.json_value import is_object

TRANSPORT_FAILURES: Final = frozenset({ItemErrorCode.UNREACHABLE, ItemErrorCode.TIMEOUT})
"""Codes that count against the transport budget (PROTOCOL §6)."""

UNAVAILABLE: Final = "unavailableTimeoutMs"
"""The limit that the error names when no server came in time."""

COMPONENT_FAILURES: Final = frozenset({ItemErrorCode.COMPONENT_FAILED, ItemErrorCode.RESOURCE_UNAVAILABLE})
"""Codes that `onError: retry` retries, in a budget of their own."""


class Failure(Struct, frozen=True, omit_defaults=True):
    """Why a step, or an item, failed. `data` is any JSON (or `Raw`)."""

    code: str
    message: str
    data: Any = UNSET


def is_transport_failure(failure: Failure) -> bool:
    """Whether a failure counts against the transport budget, and may be followed by another attempt.

    To have waited for a server in vain is no attempt (PROTOCOL §6): the step has had all the time that it may wait.
    """
    waited_in_vain = is_object(failure.data) and failure.data.get("limit") == UNAVAILABLE
    return failure.code in TRANSPORT_FAILURES and not waited_in_vain


class NoAction(Struct, frozen=True):
    """The component found nothing to do: the step succeeds, its output is `null`. The reason is for people."""

    reason: str | None = None


NULL: Final = b"null"

Outcome = bytes | Failure
"""The output as raw JSON, or why there is none."""


class Suspension(Struct, frozen=True):
    """The step leaves its process, and is executed from its top when what it waits for has come (PROTOCOL §4).

    Args:
        label: Names what it waits for; `None` for the ordinal of its suspensions.
        payload: For whoever resumes it, raw JSON.
        schema: What it may be resumed with, raw JSON; `null` if that is anything.
        token: Names it everywhere, as long as it waits.
        timeout_ms: After which it fails; `None` for never.
        until_ms: Wall time at which it goes on by itself; it cannot be resumed then.
    """

    label: str | None = None
    payload: bytes = NULL
    schema: bytes = NULL
    token: str | None = None
    timeout_ms: int | None = None
    until_ms: int | None = None


class Resume(Struct, frozen=True):
    """What a suspended step was resumed with; `data` is raw JSON."""

    label: str
    data: bytes


class Displaced(Struct, frozen=True):
    """Its server gave way to another one on purpose: it goes again at once, and nobody's budget pays for that."""

    reason: str


Reply = Outcome | NoAction | Suspension
"""What a component answers."""

Answer = Reply | Displaced
"""What comes of one execution."""
