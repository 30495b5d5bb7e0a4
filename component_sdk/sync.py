"""The blocking faces of what is written for trio: `connect` for scripts, `BlockingContext` for plain components.

There is no second logic here. Each method runs its trio original in trio's thread through a `Portal` and waits; its
types are those of the original.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial, wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

import trio
from msgspec import Raw

from component_sdk import client as trio_client
from component_sdk import run as trio_run
from component_sdk import streams as trio_streams
from component_sdk.codec import convert, encode
from component_sdk.context import Execution, StepflowContext
from component_sdk.paging import Paged
from component_sdk.run_facts import RunFacts
from protocol.byproducts import DEFAULT_NAMESPACE
from protocol.runs import RunStatus

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Portal(Protocol):
    """A way into trio's thread."""

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run an asynchronous function there and wait for it."""
        ...


class Face(Generic[T]):
    """The blocking face of something.

    Args:
        portal: The way to the thread where it lives.
        inner: What it is the face of.
    """

    __slots__ = ("inner", "portal")

    def __init__(self, portal: Portal, inner: T) -> None:
        self.portal = portal
        self.inner = inner


def _blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Face[Any], P], R]:
    """A method that runs the original and waits."""

    @wraps(method)
    def run(face: Face[Any], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return face.portal.run(partial(method, face.inner, *args, **kwargs))

    return run


def _blocking_run(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, trio_run.Run]],
) -> Callable[Concatenate[Face[Any], P], Run]:
    """A method that waits for the original and gives the handle that it gave a blocking face."""

    @wraps(method)
    def run(face: Face[Any], /, *args: P.args, **kwargs: P.kwargs) -> Run:
        return Run(face.portal, face.portal.run(partial(method, face.inner, *args, **kwargs)))

    return run


def _blocking_iterator(
    method: Callable[Concatenate[Any, P], Paged[R]],
) -> Callable[Concatenate[Face[Any], P], Iterator[R]]:
    """A method that iterates over the original's pages, crossing once a page."""

    @wraps(method)
    def iterate(face: Face[Any], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        pages = method(face.inner, *args, **kwargs)
        while (page := face.portal.run(pages.fetch)) is not None:
            yield from page

    return iterate


class Run(Face[trio_run.Run], RunFacts):
    """A handle on one run that blocks. `status` and its like look the run up, until it has ended."""

    __slots__ = ()

    @property
    def id(self) -> str:
        return self.inner.id

    @property
    def last_seen(self) -> RunStatus:
        """What was last seen of the run, without asking."""
        return self.inner.last_seen

    refresh = _blocking(trio_run.Run.refresh)
    wait = _blocking(trio_run.Run.wait)
    return_value = _blocking(trio_run.Run.return_value)
    cancel = _blocking(trio_run.Run.cancel)
    resume = _blocking(trio_run.Run.resume)
    wake_up = _blocking(trio_run.Run.wake_up)
    pause = _blocking(trio_run.Run.pause)
    unpause = _blocking(trio_run.Run.unpause)
    restart = _blocking_run(trio_run.Run.restart)
    time_travel = _blocking_run(trio_run.Run.time_travel)
    results = _blocking_iterator(trio_run.Run.results)
    events = _blocking_iterator(trio_run.Run.events)
    stream = _blocking_iterator(trio_run.Run.stream)
    item_states = _blocking(trio_run.Run.item_states)
    artifacts = _blocking(trio_run.Run.artifacts)

    def writer(self, namespace: str = DEFAULT_NAMESPACE) -> StreamWriter:
        """A writer for a stream of the run, as the trio handle gives it."""
        return StreamWriter(self.portal, self.inner.writer(namespace))

    @property
    def has_ended(self) -> bool:
        """Whether the run was seen to have ended, without asking."""
        return self.inner.has_ended

    def _look(self) -> RunStatus:
        return self.inner.last_seen if self.inner.has_ended else self.refresh()


class StreamWriter(Face[trio_streams.StreamWriter]):
    """Writes to one stream of a run, blocking."""

    __slots__ = ()

    write = _blocking(trio_streams.StreamWriter.write)
    close = _blocking(trio_streams.StreamWriter.close)


class BlockingContext(Face[StepflowContext], Execution):
    """The context of a plain `def` component: as `StepflowContext`, but its methods block."""

    __slots__ = ("_observability", "_resumes", "attempt")

    def __init__(self, portal: Portal, context: StepflowContext) -> None:
        super().__init__(portal, context)
        self.attempt = context.attempt
        self._observability = context._observability  # pyright: ignore[reportPrivateUsage] - a face of it
        self._resumes = context._resumes  # pyright: ignore[reportPrivateUsage]

    put_blob = _blocking(StepflowContext.put_blob)
    get_blob = _blocking(StepflowContext.get_blob)
    submit_run = _blocking(StepflowContext.submit_run)
    get_run = _blocking(StepflowContext.get_run)
    start = _blocking_run(StepflowContext.start)
    read_stream = _blocking_iterator(StepflowContext.read_stream)
    put_artifact = _blocking(StepflowContext.put_artifact)

    def stream(self, namespace: str = DEFAULT_NAMESPACE, *, run_id: str | None = None) -> StreamWriter:
        """A writer for a stream of this run, as `StepflowContext.stream` gives it."""
        return StreamWriter(self.portal, self.inner.stream(namespace, run_id=run_id))

    def checkpoint(self, key: str, function: Callable[[], Any], type: Any = None) -> Any:
        """As `StepflowContext.checkpoint`; the function is called here, in the component's own thread."""
        kept = self._checkpoint(key)
        if not kept.stored:
            kept = self._checkpoint(key, Raw(encode(function())))
        return convert(kept.value, type)

    _checkpoint = _blocking(StepflowContext._checkpoint)  # pyright: ignore[reportPrivateUsage] - a face of it

    sleep = _blocking(StepflowContext.sleep)

    def suspend(
        self,
        payload: Any = None,
        *,
        schema: Any = None,
        label: str | None = None,
        token: str | None = None,
        timeout: float | timedelta | None = None,
    ) -> Any:
        """Leave until somebody resumes this step, see `StepflowContext.suspend`."""
        return self._resumes.suspend(payload, schema=schema, label=label, token=token, timeout=timeout)


class Client(Face[trio_client.Client]):
    """A runtime, for scripts; see `connect`."""

    __slots__ = ()

    put_blob = _blocking(trio_client.Client.put_blob)
    get_blob = _blocking(trio_client.Client.get_blob)
    submit_run = _blocking(trio_client.Client.submit_run)
    start = _blocking_run(trio_client.Client.start)
    validate_flow = _blocking(trio_client.Client.validate_flow)
    list_runs = _blocking_iterator(trio_client.Client.list_runs)
    list_servers = _blocking(trio_client.Client.list_servers)
    submit_job = _blocking(trio_client.Client.submit_job)
    get_job = _blocking(trio_client.Client.get_job)
    list_jobs = _blocking_iterator(trio_client.Client.list_jobs)
    cancel_job = _blocking(trio_client.Client.cancel_job)
    create_schedule = _blocking(trio_client.Client.create_schedule)
    list_schedules = _blocking_iterator(trio_client.Client.list_schedules)
    pause_schedule = _blocking(trio_client.Client.pause_schedule)
    unpause_schedule = _blocking(trio_client.Client.unpause_schedule)
    delete_schedule = _blocking(trio_client.Client.delete_schedule)
    register_webhook = _blocking(trio_client.Client.register_webhook)
    list_webhooks = _blocking_iterator(trio_client.Client.list_webhooks)
    delete_webhook = _blocking(trio_client.Client.delete_webhook)
    list_deliveries = _blocking_iterator(trio_client.Client.list_deliveries)
    redeliver = _blocking(trio_client.Client.redeliver)

    def get_run(self, run_id: str) -> Run:
        """A handle on a run; it is not looked up before something is asked."""
        return Run(self.portal, self.inner.get_run(run_id))


@contextmanager
def connect(address: str | None = None, **options: Any) -> Generator[Client]:
    """Connect to a runtime, blocking.

    Args:
        address: As for `open_client`.
        **options: As for `open_client`.

    Raises:
        CannotConnectError: There is none.
    """
    thread = _TrioThread(partial(trio_client.open_client, address, **options))
    client = thread.start()
    try:
        yield Client(thread, client)
    finally:
        thread.stop()


class _TrioThread:
    """A thread in which trio runs, with one client open in it."""

    def __init__(self, open_: Callable[[], Any]) -> None:
        self._open = open_
        self._started: queue.SimpleQueue[trio_client.Client | BaseException] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="stepflow client", daemon=True)
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop: trio.Event | None = None

    def start(self) -> trio_client.Client:
        self._thread.start()
        client = self._started.get()
        if isinstance(client, BaseException):
            raise client
        return client

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        return trio.from_thread.run(function, trio_token=self._token)

    def stop(self) -> None:
        assert self._stop is not None
        assert self._token is not None
        self._token.run_sync_soon(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            self._started.put(error)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._stop = trio.Event()
        async with self._open() as client:
            self._started.put(client)
            await self._stop.wait()
