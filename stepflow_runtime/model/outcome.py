"""How an execution of a step can end."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET, Struct

from protocol.errors import ItemErrorCode

TRANSPORT_FAILURES: Final = frozenset({ItemErrorCode.UNREACHABLE, ItemErrorCode.TIMEOUT})
"""Codes that count against the transport budget (PROTOCOL §6)."""

COMPONENT_FAILURES: Final = frozenset({ItemErrorCode.COMPONENT_FAILED, ItemErrorCode.RESOURCE_UNAVAILABLE})
"""Codes that `onError: retry` retries, in a budget of their own."""


class Failure(Struct, frozen=True, omit_defaults=True):
    """Why a step, or an item, failed. `data` is any JSON (or `Raw`)."""

    code: str
    message: str
    data: Any = UNSET


class NoAction(Struct, frozen=True):
    """The component found nothing to do: the step succeeds, its output is `null`. The reason is for people."""

    reason: str | None = None


NULL: Final = b"null"

Outcome = bytes | Failure
"""The output as raw JSON, or why there is none."""

Answer = Outcome | NoAction
"""What comes of one execution."""
