"""Ending the work for who is not there any more."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

from protocol.errors import RpcError

T = TypeVar("T")


class Gone(Exception):
    """Nobody is there to be answered."""


async def answer_unless_gone(receive: Receive, answer: Awaitable[T]) -> T:
    """Waits for an answer as long as the client does.

    Raises:
        Gone: The client left.
        RpcError: The answer.
    """
    refusal: RpcError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_when_gone, receive, nursery.cancel_scope)
        try:
            return await answer
        except RpcError as error:  # not in a group
            refusal = error
        finally:
            nursery.cancel_scope.cancel()
    raise refusal or Gone


async def cancel_when_gone(receive: Receive, scope: trio.CancelScope) -> None:
    """Cancels when the client leaves: it wants no answer. What was submitted goes on.

    Args:
        receive: Of the request, whose body was read.
        scope: What is cancelled.
    """
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def dismiss(_: Request, __: Exception) -> Response:
    """What an application answers when nobody hears it."""
    return Response(status_code=499)
