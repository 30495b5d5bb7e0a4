"""Requests that wait for a worker. While they are few they go in their order; of many, runs take turns.

So a run of one item does not wait for the thousand that another run has in flight in this process. Which run a request
is for is looked up only where it matters.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec
from msgspec import Struct

from protocol.messages import UNREADABLE, RequestId
from protocol.peer import RequestReceived
from protocol.turns import Turns

FEW: Final = 64
"""So many are executed in a fraction of a millisecond, if their component does not take longer itself."""


class _Origin(Struct):
    run_id: str | None = None


class _Call(Struct):
    observability: _Origin | None = None


class _Params(Struct):
    """`ExecuteParams` or `ExecuteBatchParams`: all calls of a batch are of one run."""

    observability: _Origin | None = None
    calls: list[_Call] = []


_decode_params: Final = msgspec.json.Decoder(_Params).decode


class Backlog:
    """A queue of requests."""

    def __init__(self) -> None:
        self._first: deque[RequestReceived] = deque()
        self._runs = Turns[str | None, deque[RequestReceived]](deque)
        self._last_run: str | None = None
        self._last_run_bytes = b""

    def __bool__(self) -> bool:
        return bool(self._first or self._runs)

    def append(self, request: RequestReceived) -> None:
        """Puts a request at the end: of all, or, when many wait, of those of its run."""
        if len(self._first) < FEW and not self._runs:
            self._first.append(request)
        else:
            self._runs.queue_of(self._find_run(request)).append(request)

    def popleft(self) -> RequestReceived:
        """Takes the next one."""
        return self._first.popleft() if self._first else self._runs.take().popleft()

    def remove(self, id: RequestId) -> list[RequestReceived]:
        """Takes out what has this id."""
        found: list[RequestReceived] = []
        for queue in (self._first, *self._runs):
            for request in [request for request in queue if request.id == id]:
                queue.remove(request)
                found.append(request)
        self._runs.drop_empty()
        return found

    def _find_run(self, request: RequestReceived) -> str | None:
        """The run that a request is for: mostly that of the one before it, whose id is in it, so it is not decoded."""
        if not self._last_run_bytes or self._last_run_bytes not in request.params:
            self._last_run = _read_run(request)
            self._last_run_bytes = (self._last_run or "").encode()
        return self._last_run


def _read_run(request: RequestReceived) -> str | None:
    """The run that a request is for; `None` if it does not say. What cannot be read is refused when its turn comes."""
    try:
        params = _decode_params(request.params)
    except UNREADABLE:
        return None
    origin = params.observability or (params.calls[0].observability if params.calls else None)
    return None if origin is None else origin.run_id
