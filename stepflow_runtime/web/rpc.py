"""JSON-RPC over HTTP: `POST /rpc` with one message or one batch, for scripts that hold no connection open."""

from __future__ import annotations

import msgspec
from msgspec import Raw
from starlette.requests import Request
from starlette.responses import Response

from protocol.messages import UNREADABLE, is_batch
from stepflow_runtime.model.trace import read_traceparent
from stepflow_runtime.web.gateway import Gateway
from stepflow_runtime.web.leaving import answer_unless_gone

_decode_batch = msgspec.json.Decoder(list[Raw]).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode


class RpcEndpoint:
    """Answers messages: 200 with the answer, which may be an error of JSON-RPC; 204 where none is wanted."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def answer(self, request: Request) -> Response:
        """`POST /rpc`. Runs that are submitted here continue the trace of a header `traceparent`."""
        body = await request.body()
        line = _put_on_one_line(body)
        if not _wants_answer(line):
            return Response(status_code=204)
        exchange = self._gateway.exchange(
            line, request.scope["role"], read_traceparent(request.headers.get("traceparent"))
        )
        answer = await answer_unless_gone(request.receive, exchange)
        return Response(answer, media_type="application/json")


def _put_on_one_line(body: bytes) -> bytes:
    """The same JSON without line ends, digit for digit. What is no JSON stays so, and is answered so."""
    if b"\n" not in body and b"\r" not in body:
        return body
    try:
        return msgspec.json.format(body, indent=-1)
    except UNREADABLE:
        return body.replace(b"\n", b" ").replace(b"\r", b" ")


def _wants_answer(line: bytes) -> bool:
    """Whether anything in it is no notification; what cannot be read is answered too."""
    try:
        elements = _decode_batch(line) if is_batch(line) else [line]
        fields = [_decode_fields(element) for element in elements]
    except UNREADABLE:
        return True
    return not fields or any("id" in field or "method" not in field for field in fields)
