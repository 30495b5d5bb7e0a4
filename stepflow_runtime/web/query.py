"""Reading what a URL says after its `?`."""

from __future__ import annotations

from starlette.requests import Request

from stepflow_runtime.web.refusal import Refused


def read_int(request: Request, name: str, default: int | None = None) -> int | None:
    """A whole number.

    Raises:
        Refused: It is none.
    """
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not text.removeprefix("-").isdecimal() or not text.isascii() or len(text) > 18:
        raise Refused(400, f"{name} must be a whole number.")
    return int(text)


def read_flag(request: Request, name: str) -> bool:
    """Whether it is there, as `?name`, `?name=true` or `?name=1`."""
    return request.query_params.get(name) in ("", "1", "true")
