"""Hooks: whoever knows the token of a suspension resumes it by a POST, without being a client otherwise."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct
from starlette.requests import Request
from starlette.responses import Response

from protocol.messages import UNREADABLE
from protocol.methods import RESUME_RUN
from protocol.runs import GetRunParams, ResumeParams, RunStatus
from stepflow_runtime.web.gateway import Gateway
from stepflow_runtime.web.leaving import answer_unless_gone
from stepflow_runtime.web.query import read_flag, read_int
from stepflow_runtime.web.readings import GET_RUN
from stepflow_runtime.web.refusal import Refused, answer_json

WAIT_MS: Final = 60_000
"""How long a hook waits for the run's answer, unless `timeoutMs` says otherwise."""


class Resumed(Struct, rename="camel"):
    """All that a hook tells who does not wait: a token is no permission to look at the run."""

    run_id: str
    status: str


class Hooks:
    """`POST /hooks/{token}`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def resume(self, request: Request) -> Response:
        """Resumes what waits under a token with the body, JSON or nothing: 202, or with `?wait` the run and results.

        With `?wait` the answer is 200 when the run has ended, and 202 if that takes longer than `timeoutMs`.
        `Idempotency-Key` makes a repeat give the first one's answer.
        """
        body = await request.body()
        params = ResumeParams(
            token=request.path_params["token"],
            resume_data=Raw(_check_json(body)) if body.strip() else UNSET,
            request_id=request.headers.get("idempotency-key"),
        )
        resumed: RunStatus = await self._gateway.call(RESUME_RUN, params)
        if not read_flag(request, "wait"):
            return answer_json(Resumed(resumed.run_id, resumed.status), 202)
        wait = GetRunParams(
            resumed.run_id,
            wait=True,
            include_results=True,
            timeout_ms=max(0, read_int(request, "timeoutMs", WAIT_MS) or 0),
        )
        run: RunStatus = await answer_unless_gone(request.receive, self._gateway.call(GET_RUN, wait))
        return answer_json(run, 202 if run.completed_at is None else 200)


def _check_json(body: bytes) -> bytes:
    try:
        msgspec.json.decode(body, type=Raw)
    except UNREADABLE as error:
        raise Refused(400, f"The body must be JSON, or empty: {error}.") from None
    return body
