"""Requests of the other side, while a handler works on them.

Each is an errand, and has a task if its handler needs one. How many there may be is bounded; one that only waits for
something that ends by itself says so with `parked()`, and then counts in another, larger bound. `link` is above,
`dispatch` and `errand` are below.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

import trio
from msgspec import Struct

from protocol.errand import Errand, find_errand
from protocol.errors import ErrorCode, RpcError
from protocol.messages import RequestId
from protocol.peer import NotificationReceived, RequestReceived

if TYPE_CHECKING:
    from protocol.dispatch import Dispatcher  # a mere client needs no jsonrpcserver

RETRY_AFTER_MS: Final = 200

OnAnswered = Callable[[str, int | None, float | None], None]
"""Told of a request: its method, the code of its error if it has one, and for how many seconds it was worked on, what
it waited for left out; `None` if it was refused at once."""


class HandlingLimits(Struct, frozen=True):
    """What one connection may ask at once (PROTOCOL §7).

    Args:
        max_handled: Requests that are worked on.
        max_parked: Requests that wait, see `parked`.
        max_handled_bytes: Of the params of both together, but for those that were let go of.
    """

    max_handled: int = 2_000
    max_parked: int = 10_000
    max_handled_bytes: int = 64 * 1024 * 1024


class _Work(Errand):
    """One request, or notification, that is handled."""

    __slots__ = ("began", "code", "handlers", "is_parked", "message", "size")

    def __init__(
        self, handlers: Handlers, message: RequestReceived | NotificationReceived, nursery: trio.Nursery
    ) -> None:
        super().__init__(handlers.handle(self), nursery, message.method)
        self.handlers = handlers
        self.message = message
        self.size = len(message.params)
        self.is_parked = False
        self.began = trio.current_time()
        """Later by what it has waited."""
        self.code: int | None = ErrorCode.REQUEST_CANCELLED
        """Of its error, `None` for a result; until it is answered, as if nobody wanted that any more."""

    def ended(self, *, is_cancelled: bool) -> None:
        self.handlers.end(self, is_cancelled=is_cancelled)


class _Parking:
    """A request while it only waits."""

    __slots__ = ("_over_limit", "_work")

    def __init__(self, work: _Work, *, over_limit: bool) -> None:
        self._work = work
        self._over_limit = over_limit

    def __enter__(self) -> None:
        self._work.handlers.park(self._work, over_limit=self._over_limit)

    def __exit__(self, *_: object) -> None:
        self._work.handlers.unpark(self._work)


NOTHING: Final[AbstractContextManager[None]] = nullcontext()


def parked(*, over_limit: bool = False) -> AbstractContextManager[None]:
    """Declares that the request being handled only waits, and does not count as handled meanwhile.

    Outside of a request, and inside another `parked()`, it does nothing.

    Args:
        over_limit: Whether it may wait however many do: other waits may end only when this one has.

    Raises:
        RpcError: `THROTTLED`, when it is entered, if too many of this connection wait already.
    """
    work = find_errand()
    return NOTHING if not isinstance(work, _Work) or work.is_parked else _Parking(work, over_limit=over_limit)


def let_go_of_params() -> None:
    """Declares that the params of the request being handled are no longer held, and do not count."""
    work = find_errand()
    if isinstance(work, _Work):
        work.handlers.let_go(work)


class Handlers:
    """The requests of one connection that are in handlers.

    Args:
        dispatcher: Who carries them out.
        context: Passed on to each.
        respond: Answers a request with raw JSON.
        respond_error: Answers it with an error.
        on_idle: Called when the last of them has been answered: no other answer can go out together with that one.
        limits: How many there may be.
        on_answered: Told of each request that was answered.

    Attributes:
        handled: Requests that are worked on now.
        parked: Requests that wait now.
    """

    def __init__(
        self,
        dispatcher: Dispatcher | None,
        context: Any,
        respond: Callable[[RequestReceived, bytes], None],
        respond_error: Callable[[RequestReceived, RpcError], None],
        on_idle: Callable[[], None],
        limits: HandlingLimits,
        on_answered: OnAnswered | None = None,
    ) -> None:
        self.handled = 0
        self.parked = 0
        self._dispatcher = dispatcher
        self._context = context
        self._respond = respond
        self._respond_error = respond_error
        self._on_idle = on_idle
        self._limits = limits
        self._on_answered = on_answered or _ignore
        self._handled_bytes = 0
        self._works: dict[RequestId, list[_Work]] = {}
        self._is_starting = False
        self._finished: trio.Event | None = None

    def start(self, nursery: trio.Nursery, request: RequestReceived) -> None:
        """Has a request handled, or refuses it if there are too many."""
        refusal = self._find_refusal(request.method, len(request.params))
        if refusal is not None:
            self._respond_error(request, refusal)
            self._on_answered(request.method, refusal.code, None)
            return
        work = self._begin(request, nursery)
        self._works.setdefault(request.id, []).append(work)
        assert self._dispatcher is not None
        if self._dispatcher.needs_task(request.method):
            work.become_task()
        else:
            self._is_starting = True
            work.go_on()
            self._is_starting = False

    def start_notification(self, nursery: trio.Nursery, notification: NotificationReceived) -> None:
        """Gives a notification a task; one too many is dropped, as there is nobody to tell."""
        if self._find_refusal(notification.method, len(notification.params)) is None:
            self._begin(notification, nursery).become_task()

    def cancel(self, id: RequestId) -> bool:
        """Cancels the requests with this id.

        Returns:
            Whether there is one.
        """
        works = self._works.get(id, ())
        for work in list(works):
            work.cancel()
        return bool(works)

    def abandon(self) -> None:
        """Ends all that has no task; the nursery of the others ends, too. Nothing is answered any more."""
        for work in [work for works in self._works.values() for work in works]:
            work.abandon()

    async def finish(self) -> None:
        """Waits until all requests are answered; those that only wait are cancelled, as what they wait for may be far.

        Cancellation: leaves the rest as it is.
        """
        self._finished = trio.Event()
        for work in [work for works in self._works.values() for work in works]:
            if work.is_parked:
                work.cancel()
        if self._works:
            await self._finished.wait()

    def park(self, work: _Work, *, over_limit: bool) -> None:
        """See `parked`."""
        if self.parked >= self._limits.max_parked and not over_limit:
            raise _throttled("maxParkedRequests", self._limits.max_parked)
        if self._finished is not None:
            work.cancel()
        work.is_parked = True
        work.began -= trio.current_time()
        self.parked += 1
        self.handled -= 1

    def unpark(self, work: _Work) -> None:
        """See `parked`."""
        work.is_parked = False
        work.began += trio.current_time()
        self.parked -= 1
        self.handled += 1

    def let_go(self, work: _Work) -> None:
        """See `let_go_of_params`."""
        self._handled_bytes -= work.size
        work.size = 0

    def _find_refusal(self, method: str, size: int) -> RpcError | None:
        if self._dispatcher is None or not self._dispatcher.knows(method):
            return RpcError(ErrorCode.METHOD_NOT_FOUND, f"There is no method {method} here.", method=method)
        if self.handled >= self._limits.max_handled:
            return _throttled("maxHandledRequests", self._limits.max_handled)
        if self._handled_bytes and self._handled_bytes + size > self._limits.max_handled_bytes:
            return _throttled("maxHandledBytes", self._limits.max_handled_bytes)
        return None

    def _begin(self, message: RequestReceived | NotificationReceived, nursery: trio.Nursery) -> _Work:
        work = _Work(self, message, nursery)
        self.handled += 1
        self._handled_bytes += work.size
        return work

    async def handle(self, work: _Work) -> None:
        """Has a message dispatched, and answers it."""
        assert self._dispatcher is not None
        message = work.message
        params, message.params = message.params, b""  # whoever handles them decides how long they are held
        if isinstance(message, NotificationReceived):
            await self._dispatcher.notify(message.method, params, self._context)
            return
        handling = self._dispatcher.dispatch(message.method, params, self._context)
        del params
        try:
            result = await handling
        except RpcError as error:
            work.code = error.code
            self._respond_error(message, error)
        else:
            work.code = None
            self._respond(message, result)

    def end(self, work: _Work, *, is_cancelled: bool) -> None:
        """A message is handled."""
        self.handled -= 1
        self.let_go(work)
        request = work.message
        if isinstance(request, NotificationReceived):
            return
        if is_cancelled:
            self._respond_error(request, RpcError(ErrorCode.REQUEST_CANCELLED, "The caller cancelled the request."))
        self._on_answered(request.method, work.code, trio.current_time() - work.began)
        works = self._works[request.id]
        works.remove(work)
        if not works:
            del self._works[request.id]
        if not self._works:
            if not self._is_starting:  # else the reader sends what is queued, when it has started all
                self._on_idle()
            if self._finished is not None:
                self._finished.set()


def _ignore(method: str, code: int | None, seconds: float | None) -> None:
    """Nobody counts."""


def _throttled(limit: str, value: int) -> RpcError:
    message = f"Too many requests of this connection are being handled ({limit} is {value}); ask again a little later."
    return RpcError(ErrorCode.THROTTLED, message, retryAfterMs=RETRY_AFTER_MS, limit=limit, value=value)
