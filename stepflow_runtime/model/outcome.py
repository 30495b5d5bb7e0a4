"""How an execution of a step can end."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET, Struct

from protocol.errors import ItemErrorCode


class Failure(Struct, frozen=True, omit_defaults=True):
    """Why a step, or an item, failed. `data` is any JSON (or `Raw`)."""

    code: str
    message: str
    data: Any = UNSET

    @property
    def of_transport(self) -> bool:
        """Whether it counts against the transport budget rather than the component's (PROTOCOL §6)."""
        return self.code in TRANSPORT_FAILURES


TRANSPORT_FAILURES


class NoAction(Struct, frozen=True):
    """The component found nothing to do. Its output is `null`."""

    reason: str | None = None


TRANSPORT_FAILURES: Final = frozenset({ItemErrorCode.UNREACHABLE, ItemErrorCode.TIMEOUT})
COMPONENT_FAILURES: Final = frozenset({ItemErrorCode.COMPONENT_FAILED, ItemErrorCode.RESOURCE_UNAVAILABLE})

Outcome = bytes | Failure
"""The output as raw JSON, or why there is none."""
