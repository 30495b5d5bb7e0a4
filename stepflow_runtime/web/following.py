"""Following a run over HTTP: its streams and its events as they come, from where the reader was (`Last-Event-ID`)."""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from protocol.byproducts import ReadStreamParams
from protocol.runs import EventsParams
from stepflow_runtime.connect.tokens import Role
from stepflow_runtime.web.event_stream import KEEP_ALIVE, KEEP_ALIVE_MS, EventStream, Write, format_event
from stepflow_runtime.web.gateway import Gateway
from stepflow_runtime.web.query import read_flag, read_int
from stepflow_runtime.web.readings import LIST_EVENTS, READ_STREAM, RawChunks, RawEvents
from stepflow_runtime.web.refusal import Refused

END: Final = "end"
"""The last event: nothing comes after it, and whoever reconnects is told so by 204, which ends an `EventSource`."""


class Following:
    """Streams and events of runs."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    # --- streams -----------------------------------------------------------------------------------------------------

    async def stream(self, request: Request) -> Response:
        """`GET /runs/{run_id}/streams/{namespace}?startIndex=`: a chunk an event, with its index as `id`.

        A chunk that is bytes comes as an event `base64`. At the end of the stream comes an event `end`.
        """
        role: Role = request.scope["role"]
        params = ReadStreamParams(request.path_params["run_id"], request.path_params["namespace"] or None)
        seen = _read_last_id(request)
        if seen is None:
            params.start_index = read_int(request, "startIndex", 0)
        elif seen.isdecimal() and seen.isascii():
            params.start_index = int(seen) + 1
        else:
            raise Refused(400, "Last-Event-ID must be the index of a chunk.")
        page: RawChunks = await self._gateway.call(READ_STREAM, params, role)
        if seen is not None and page.done and not page.chunks:
            return Response(status_code=204)
        return EventStream(partial(self._write_chunks, params, page, role))

    async def _write_chunks(self, params: ReadStreamParams, page: RawChunks, role: Role, write: Write) -> None:
        while True:
            events = [
                format_event(bytes(chunk.data), id=str(chunk.index), event=chunk.encoding) for chunk in page.chunks
            ]
            if page.done:
                end = msgspec.json.encode({"tailIndex": page.tail_index})
                await write(b"".join(events) + format_event(end, id=str(page.tail_index - 1), event=END))
                return
            await write(b"".join(events) or KEEP_ALIVE)
            params.start_index, params.timeout_ms = page.next_index, KEEP_ALIVE_MS
            page = await self._gateway.call(READ_STREAM, params, role)

    # --- events ------------------------------------------------------------------------------------------------------

    async def events(self, request: Request) -> Response:
        """`GET /runs/{run_id}/events?types=&includeSubRuns&after=`: what happens in a run; at its end comes `end`."""
        role: Role = request.scope["role"]
        types = [name for name in request.query_params.get("types", "").split(",") if name]
        params = EventsParams(
            request.path_params["run_id"],
            types=types or None,
            include_sub_runs=read_flag(request, "includeSubRuns") or None,
        )
        last_id = _read_last_id(request) or request.query_params.get("after") or None
        params.cursor, skip = _split_id(last_id)
        page: RawEvents = await self._gateway.call(LIST_EVENTS, params, role)
        if last_id is not None and page.done and len(page.events) <= skip:
            return Response(status_code=204)
        return EventStream(partial(self._write_events, params, page, skip, role))

    async def _write_events(self, params: EventsParams, page: RawEvents, skip: int, role: Role, write: Write) -> None:
        while True:
            # An event in the midst of a page is found again by the page's cursor and its place in it.
            places = [f"{params.cursor or ''}.{number}" for number in range(1, len(page.events))]
            ids = [*places, f"{page.next_cursor}.0"]
            events = [
                format_event(msgspec.json.encode(event), id=id, event=event.type)
                for event, id in zip(page.events, ids, strict=False)
            ]
            body = b"".join(events[skip:])
            if page.done:
                await write(body + format_event(b"{}", id=f"{page.next_cursor}.0", event=END))
                return
            await write(body or KEEP_ALIVE)
            skip = max(0, skip - len(page.events))
            params.cursor, params.timeout_ms = page.next_cursor, KEEP_ALIVE_MS
            page = await self._gateway.call(LIST_EVENTS, params, role)


def _read_last_id(request: Request) -> str | None:
    return request.headers.get("last-event-id") or None


def _split_id(id: str | None) -> tuple[str | None, int]:
    """The cursor of a page and how many of its events were seen."""
    if id is None:
        return None, 0
    cursor, _, seen = id.rpartition(".")
    if not (seen.isdecimal() and seen.isascii() and len(seen) < 10):
        raise Refused(400, "Last-Event-ID must be the id of an event.")
    return cursor or None, int(seen)
