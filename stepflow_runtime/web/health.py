"""Whether the runtime lives, and whether it takes work: for what watches over processes."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from stepflow_runtime.web.refusal import answer_json


class HealthStatus(Struct, omit_defaults=True):
    """`ok`, or `unavailable` and why."""

    status: str
    reason: str | None = None


class Health:
    """`/healthz` and `/readyz`.

    Args:
        find_hindrance: Why no work is taken now, or `None`.
    """

    def __init__(self, find_hindrance: Callable[[], str | None]) -> None:
        self._find_hindrance = find_hindrance

    async def live(self, _: Request) -> Response:
        """200 as long as the process answers at all."""
        return answer_json(HealthStatus("ok"))

    async def ready(self, _: Request) -> Response:
        """200 if work is taken, else 503 and why not."""
        hindrance = self._find_hindrance()
        if hindrance is None:
            return answer_json(HealthStatus("ok"))
        return answer_json(HealthStatus("unavailable", hindrance), 503)
