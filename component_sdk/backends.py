"""Where components run: an `async def` under trio, one that needs asyncio in a loop in a thread of its own, and a plain
`def` in a thread.

All are started from trio, and each gets a context that fits: its requests go through trio's thread wherever they come
from. Cancellation reaches asyncio components as asyncio's own, and threads at their next request.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import trio
from msgspec import Struct
from outcome import Error, Outcome, Value, acapture

from component_sdk.caller import Caller
from component_sdk.context import StepflowContext
from component_sdk.signature import Backend, Signature
from component_sdk.sync import BlockingContext
from protocol.errors import LinkClosed
from protocol.methods import Method

T = TypeVar("T")

MAX_THREADS: Final = 40
"""How many plain components compute at once; those that wait for the runtime are not counted."""

Contexts: TypeAlias = StepflowContext | list[StepflowContext] | None
"""A context; or one for each input of a batch."""

Call: TypeAlias = Callable[[Any, Contexts], Awaitable[Any]]
"""Executes a component with its input and trio's context."""


class Backends:
    """The threads of one process that serves components.

    Args:
        max_threads: How many plain components compute at once.
    """

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        self._limiter = trio.CapacityLimiter(max_threads)
        self._asyncio: _AsyncioThread | None = None

    def prepare(self, signature: Signature, timeout_s: float | None = None) -> Call:
        """Make a component callable from trio.

        Args:
            signature: The component's.
            timeout_s: Bounds one execution; `trio.TooSlowError` ends it.
        """
        call = self._choose(signature)
        return call if timeout_s is None else partial(_call_in_time, timeout_s, call)

    def close(self) -> None:
        """End the asyncio loop, if there is one."""
        if self._asyncio is not None:
            self._asyncio.close()
            self._asyncio = None

    def _choose(self, signature: Signature) -> Call:
        match signature.backend:
            case Backend.TRIO:
                return signature.call
            case Backend.ASYNCIO:
                self._asyncio = self._asyncio or _AsyncioThread()
                return partial(self._asyncio.execute, signature.call)
            case Backend.THREAD:
                return partial(_call_in_thread, self._limiter, signature.call)


async def _call_in_time(timeout_s: float, call: Call, value: Any, context: Contexts) -> Any:
    try:
        with trio.fail_after(timeout_s):
            return await call(value, context)
    except trio.TooSlowError as error:
        raise trio.TooSlowError(f"The component did not end within its {timeout_s} s.") from error


async def _call_in_thread(
    limiter: trio.CapacityLimiter, call: Callable[[Any, Any], Any], value: Any, context: Contexts
) -> Any:
    portal = _ThreadPortal(limiter)
    blocking = _adapt(context, partial(BlockingContext, portal))
    async with portal.counted():
        return await trio.to_thread.run_sync(call, value, blocking, limiter=_UNLIMITED)


def _adapt(context: Contexts, make: Callable[[StepflowContext], T]) -> T | list[T] | None:
    """What fits another backend, made of a context or of each of several."""
    if isinstance(context, list):
        return [make(one) for one in context]
    return None if context is None else make(context)


_UNLIMITED: Final = trio.CapacityLimiter(math.inf)


class _ThreadPortal:
    """From a component's thread into trio.

    Meanwhile its place is given to others: waiting for a sub-run must not keep threads from the components it needs.
    """

    def __init__(self, limiter: trio.CapacityLimiter) -> None:
        self._limiter = limiter

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        return trio.from_thread.run(self._run_uncounted, function)

    def counted(self) -> _Counted:
        return _Counted(self._limiter, self)

    async def _run_uncounted(self, function: Callable[[], Awaitable[T]]) -> T:
        self._limiter.release_on_behalf_of(self)
        try:
            return await function()
        finally:
            with trio.CancelScope(shield=True):
                await self._limiter.acquire_on_behalf_of(self)


class _Counted:
    """A place among the threads that compute."""

    def __init__(self, limiter: trio.CapacityLimiter, borrower: object) -> None:
        self._limiter = limiter
        self._borrower = borrower

    async def __aenter__(self) -> None:
        await self._limiter.acquire_on_behalf_of(self._borrower)

    async def __aexit__(self, *_: object) -> None:
        self._limiter.release_on_behalf_of(self._borrower)


class _AsyncioThread:
    """An asyncio loop in a thread of its own, started with the first component that needs it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="asyncio components", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def execute(self, call: Callable[[Any, Any], Any], value: Any, context: Contexts) -> Any:
        async with trio.open_nursery() as nursery:
            crossing = _adapt(context, lambda one: one.over(_AsyncioCaller(one.caller, nursery)))
            try:
                return await self._run(partial(call, value, crossing))
            finally:
                nursery.cancel_scope.cancel()

    async def _run(self, function: Callable[[], Awaitable[T]]) -> T:
        token = trio.lowlevel.current_trio_token()
        ended = trio.Event()
        results: list[Outcome[T]] = []
        tasks: list[asyncio.Task[None]] = []

        async def execute() -> None:
            results.append(await acapture(function))
            token.run_sync_soon(ended.set)

        def start() -> None:
            tasks.append(self._loop.create_task(execute()))

        self._loop.call_soon_threadsafe(start)
        try:
            await ended.wait()
        except trio.Cancelled:
            self._loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            with trio.CancelScope(shield=True):
                await ended.wait()
            raise
        return results[0].unwrap()


class _AsyncioCaller:
    """Takes requests of an asyncio component to trio's thread, each as a task of its execution."""

    def __init__(self, caller: Caller, nursery: trio.Nursery) -> None:
        self._caller = caller
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()

    async def call(self, method: Method, params: Struct) -> Any:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Outcome[Any]] = loop.create_future()
        scope = trio.CancelScope()

        def settle(result: Outcome[Any]) -> None:
            if not answer.done():
                answer.set_result(result)

        async def relay() -> None:
            result: Outcome[Any] = Error(LinkClosed("The execution has ended."))
            try:
                with scope:
                    result = await _capture(partial(self._caller.call, method, params))
            finally:
                loop.call_soon_threadsafe(settle, result)

        def start() -> None:
            try:
                self._nursery.start_soon(relay)
            except RuntimeError:  # a task that the component left behind: its execution is over
                loop.call_soon_threadsafe(settle, Error(LinkClosed("The execution has ended.")))

        self._token.run_sync_soon(start)
        try:
            return (await answer).unwrap()
        except asyncio.CancelledError:
            self._token.run_sync_soon(scope.cancel)
            raise


async def _capture(function: Callable[[], Awaitable[T]]) -> Outcome[T]:
    """As `outcome.acapture`, but cancellation goes its way."""
    try:
        return Value(await function())
    except Exception as error:
        return Error(error)
