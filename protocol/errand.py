"""Coroutines that need no task: who completes what they wait for carries them on.

A task costs more processor time than many a request, goes on two passes of the scheduler after the event that it waits
for, and holds some KiB while it waits. An `Errand` is a coroutine without one: it runs within the call that starts it,
and then within the one that completes the `Later` that it awaits. What it calls may be called in a task just as well,
where a `Later` is awaited like anything else. Before an errand awaits something of trio's, it says `await in_task()`,
and is a task from there on.

It knows nothing of requests: `handling` is above.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any, Final, Generic, TypeVar

import trio

T = TypeVar("T")

_current: ContextVar[Errand | None] = ContextVar("protocol.errand.current", default=None)
_TASK: Final = object()
"""What an errand yields to become a task."""


class Later(Generic[T]):
    """What one coroutine, in a task or in an errand, waits for."""

    __slots__ = ("_error", "_is_there", "_value", "_wake")

    _value: T

    def __init__(self) -> None:
        self._error: Exception | None = None
        self._is_there = False
        self._wake: Callable[[], None] | None = None

    def complete(self, value: T) -> None:
        """Gives the value. An errand that waits for it goes on before this returns."""
        self._value = value
        self._arrive()

    def fail(self, error: Exception) -> None:
        """Raises an error where it is awaited; see `complete`."""
        self._error = error
        self._arrive()

    def forgotten(self) -> None:
        """Called if who waits is cancelled; for who has to know."""

    def _arrive(self) -> None:
        self._is_there = True
        wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    def __await__(self) -> Generator[Any, Any, T]:
        if not self._is_there:
            errand = _current.get()
            try:
                if errand is not None and errand.is_at_work:
                    self._wake = errand.go_on
                    yield self
                else:
                    self._wake = partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())
                    waiting = trio.lowlevel.wait_task_rescheduled(self._let_go)  # noqa: ASYNC105 - this is an await
                    yield from waiting.__await__()
            except BaseException:
                self._wake = None
                if not self._is_there:
                    self.forgotten()
                raise
        if self._error is not None:
            raise self._error
        return self._value

    def _let_go(self, _: object) -> trio.lowlevel.Abort:
        self._wake = None
        return trio.lowlevel.Abort.SUCCEEDED


def arrived(value: T) -> Later[T]:
    """What need not be waited for."""
    later = Later[T]()
    later.complete(value)
    return later


class Errand:
    """A coroutine on its way.

    Args:
        coroutine: Returns nothing. What it raises, but for what cancels it, is raised in the nursery.
        nursery: For the task that it may become.
        name: Of that task.

    Attributes:
        is_at_work: Whether it runs now, and not in a task.
    """

    __slots__ = ("_context", "_coroutine", "_is_cancelled", "_name", "_nursery", "_scope", "is_at_work")

    def __init__(self, coroutine: Coroutine[Any, Any, None], nursery: trio.Nursery, name: str) -> None:
        self._coroutine = coroutine
        self._nursery = nursery
        self._name = name
        self._context: Context = copy_context()
        self._scope: trio.CancelScope | None = None
        self._is_cancelled = False
        self.is_at_work = False
        self._context.run(_current.set, self)

    def ended(self, *, is_cancelled: bool) -> None:
        """Called once when it has ended, with whether `cancel` was why; for who has to know."""

    def go_on(self) -> None:
        """Runs until it has to wait; also for the first time."""
        self._step(self._coroutine.send, None)

    def _step(self, step: Callable[[Any], Any], given: Any) -> None:
        self.is_at_work = True
        try:
            awaited = self._context.run(step, given)
        except StopIteration:
            self._end(is_cancelled=False)
            return
        except Exception as error:  # of which who carries it on knows nothing
            self._nursery.start_soon(_fail, error)
            self._end(is_cancelled=False)
            return
        finally:
            self.is_at_work = False
        if awaited is _TASK:
            self.become_task()
        elif not isinstance(awaited, Later):
            self._step(self._coroutine.throw, RuntimeError(f"{self._name} awaits trio, and did not say in_task()"))
        elif self._is_cancelled:
            self._close(is_cancelled=True)

    def become_task(self) -> None:
        """Goes on in a task; also at once, instead of `go_on`."""
        self._scope = trio.CancelScope()
        if self._is_cancelled:
            self._scope.cancel()
        self._context.run(partial(self._nursery.start_soon, self._run_in_task, name=self._name))

    def cancel(self) -> None:
        """Ends it: `Cancelled` is raised where it waits in a task, `GeneratorExit` elsewhere."""
        self._is_cancelled = True
        if self._scope is not None:
            self._scope.cancel()
        elif not self.is_at_work:
            self._close(is_cancelled=True)

    def abandon(self) -> None:
        """Ends it because its nursery ends, which does so with its task."""
        if self._scope is None:
            self._close(is_cancelled=False)

    def _close(self, *, is_cancelled: bool) -> None:
        self._context.run(self._coroutine.close)
        self._end(is_cancelled=is_cancelled)

    async def _run_in_task(self) -> None:
        assert self._scope is not None
        try:
            with self._scope:
                await _carry_on(self._coroutine)
        finally:
            self._end(is_cancelled=self._scope.cancelled_caught)

    def _end(self, *, is_cancelled: bool) -> None:
        del self._coroutine, self._context  # they name it: the collector would have to find it
        self.ended(is_cancelled=is_cancelled)


def find_errand() -> Errand | None:
    """The errand that calls it, also if it is a task by now, or another task that this one has started."""
    return _current.get()


@types.coroutine
def in_task() -> Generator[Any, Any, None]:
    """Makes the errand that calls it a task. Elsewhere it does nothing."""
    errand = _current.get()
    if errand is not None and errand.is_at_work:
        yield _TASK


async def _fail(error: Exception) -> None:
    raise error


@types.coroutine
def _carry_on(coroutine: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
    """Awaits a coroutine that may have begun elsewhere."""
    step: Callable[[Any], Any] = coroutine.send
    given: Any = None
    while True:
        try:
            awaited = step(given)
        except StopIteration:
            return
        try:
            step, given = coroutine.send, (yield awaited)
        except BaseException as error:
            step, given = coroutine.throw, error
