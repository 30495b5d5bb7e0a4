"""Whether the runtime lives, and whether it takes work: for what watches over processes."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class Health:
    """`/healthz` and `/readyz`.

    Args:
        find_hindrance: Why no work is taken now, or `None`.
    """

    def __init__(self, find_hindrance: Callable[[], str | None]) -> None:
        self._find_hindrance = find_hindrance

    async def live(self, _: Request) -> Response:
        """200 as long as the process answers at all."""
        return JSONResponse({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """200 if work is taken, else 503 and why not."""
        hindrance = self._find_hindrance()
        if hindrance is None:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "unavailable", "reason": hindrance}, 503)
