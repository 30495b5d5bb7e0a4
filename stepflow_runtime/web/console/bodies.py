"""Forms as browsers send them."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request

from stepflow_runtime.web.refusal import Refused

MAX_FIELDS = 1000


async def read_fields(request: Request) -> dict[str, str]:
    """The fields of a form; of several of one name the last.

    Raises:
        Refused: It is no form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused(415, "A form is expected here, as application/x-www-form-urlencoded.")
    try:
        body = (await request.body()).decode()
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        raise Refused(400, "The form cannot be read.") from None
