"""A run that is followed: looked up, waited for, its results, events, streams and artifacts read.

It holds no connection and no task. Waiting is done by requests that the runtime answers when there is something to
tell, so nothing is polled, and a lost connection costs a repeated request. It changes nothing in the run; `run` is
above, which does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Literal, TypeAlias, TypeVar, overload

from msgspec import Struct

from component_sdk.caller import Caller, ask_about_run
from component_sdk.codec import convert
from component_sdk.errors import RunCancelledError, RunFailedError, RunNotCompletedError, SdkError
from component_sdk.paging import Paged
from component_sdk.results import TERMINAL, EventPages, ResultPages
from component_sdk.run_facts import RunFacts
from component_sdk.streams import StreamPages, StreamReader
from protocol import methods
from protocol.byproducts import (
    DEFAULT_NAMESPACE,
    Artifact,
    ListArtifactsResult,
    ReadStreamParams,
    ReadStreamResult,
)
from protocol.observing import MAX_STATES, STATES, ItemStatesParams, ItemStatesResult
from protocol.runs import (
    EventsParams,
    EventsResult,
    GetRunParams,
    ItemEntry,
    ItemError,
    ItemState,
    Outcome,
    ResultOrder,
    RunEvent,
    RunParams,
    RunState,
    RunStatus,
    WaitFor,
)
from protocol.types import Observability

T = TypeVar("T")

Order = Literal["byIndex", "byCompletion"] | ResultOrder
WaitForName: TypeAlias = Literal["terminal", "settled"] | WaitFor

PAGE_ITEMS: Final = 1000
LONG_POLL_MS: Final = 30_000


class FollowedRun(RunFacts):
    """One run, as who reads sees it; see `Run`."""

    id: str

    def __init__(
        self,
        caller: Caller,
        id: str,
        *,
        status: RunStatus | None = None,
        observability: Observability | None = None,
    ) -> None:
        self.id = id
        self._caller = caller
        self._observability = observability
        self._seen = status

    @property
    def last_seen(self) -> RunStatus:
        """What was last seen of the run.

        Raises:
            SdkError: Nothing was; `refresh` first.
        """
        if self._seen is None:
            raise SdkError(f"Nothing is known of the run {self.id} yet: call `refresh()` or `wait()` first.")
        return self._seen

    @property
    def has_ended(self) -> bool:
        """Whether the run was seen to have ended; then nothing of it changes any more."""
        return self._seen is not None and self._seen.status in TERMINAL

    def _look(self) -> RunStatus:
        return self.last_seen

    async def refresh(self) -> RunStatus:
        """Look the run up.

        Raises:
            RunNotFoundError: There is no such run.
        """
        return await self._get(GetRunParams(self.id))

    async def wait(self, timeout_s: float | None = None, *, wait_for: WaitForName | None = None) -> RunStatus:
        """Wait until the run has ended.

        Args:
            timeout_s: Bounds the waiting, not the run; at its end the status is the answer as it is.
            wait_for: `settled`: also until it is suspended.

        Raises:
            RunNotFoundError: There is no such run.

        Cancellation:
            The run goes on.
        """
        settled = None if wait_for is None else WaitFor(wait_for)
        return await self._get(GetRunParams(self.id, wait=True, wait_for=settled, timeout_ms=to_ms(timeout_s)))

    @overload
    async def return_value(self, type: None = None, *, timeout_s: float | None = None) -> Any: ...
    @overload
    async def return_value(self, type: type[T], *, timeout_s: float | None = None) -> T | list[T]: ...
    async def return_value(self, type: Any = None, *, timeout_s: float | None = None) -> Any:
        """Wait for the run and get what it gave.

        Args:
            type: What each item's value is read as; `None` for plain JSON.
            timeout_s: Bounds the waiting.

        Returns:
            The value of a run of one item; of several, the list by index.

        Raises:
            RunFailedError: An item failed; `cause` is the error of the first that did.
            RunCancelledError: The run was cancelled.
            RunNotCompletedError: It has not ended within `timeout_s`.
            RunNotFoundError: There is no such run.
            Unfit: A value is not of that type.
        """
        status = await self.wait(timeout_s)
        if status.status not in TERMINAL:
            raise RunNotCompletedError(f"The run {self.id} is {status.status} still; wait longer for it.", self.id)
        entries = [entry async for entry in self.results()]
        if status.status == RunState.CANCELLED:
            reason = f": {status.cancel_reason}" if status.cancel_reason else ""
            raise RunCancelledError(f"The run {self.id} was cancelled{reason}.", self.id)
        if status.status == RunState.FAILED:
            raise self._describe_failure(status, entries)
        values = [convert(entry.result.value, type) for entry in entries]
        return values[0] if len(values) == 1 else values

    def results(self, order: Order = "byIndex") -> Paged[ItemEntry]:
        """Results as the items end.

        Args:
            order: `byIndex` waits for each item in turn; `byCompletion` is the order in which they end.

        Returns:
            An asynchronous iterator; it ends when the run has.
        """
        ends = EventPages(partial(self._get_events, False), ["item.completed", "run.completed"])
        return Paged(ResultPages(self._get_page, ends, ResultOrder(order)).fetch)

    def events(self, types: Sequence[str] | None = None, *, include_sub_runs: bool = False) -> Paged[RunEvent]:
        """What happens in the run, from its beginning, as it happens.

        Args:
            types: Only these, e.g. `["item.completed"]`; `None` for all.
            include_sub_runs: Also of all runs beneath it; each event names its run.

        Returns:
            An asynchronous iterator; it ends when the run has.
        """
        return Paged(EventPages(partial(self._get_events, include_sub_runs), types).fetch)

    def stream(self, namespace: str = DEFAULT_NAMESPACE, start_index: int = 0, type: Any = None) -> StreamReader:
        """The chunks of a stream, as they are written, and afterwards.

        Args:
            namespace: Which of the run's streams.
            start_index: The first chunk, from 0; a negative one counts back from the end as it is then.
            type: The type to read JSON chunks as; `None` for plain JSON. Bytes stay `bytes`.

        Returns:
            An asynchronous iterator; it ends when the stream is closed, or the run has ended.
        """
        return StreamReader(StreamPages(partial(self._read_stream, namespace), start_index, type))

    async def item_states(self, start_index: int = 0, limit: int | None = None) -> list[ItemState]:
        """How each item is, by index: what is drawn of a run of a million, where `results` would be too much.

        Args:
            start_index: The first item that is meant.
            limit: How many of them; default, all that follow.

        Raises:
            RunNotFoundError: There is no such run.
        """
        states: list[ItemState] = []
        while limit is None or len(states) < limit:
            left = MAX_STATES if limit is None else min(limit - len(states), MAX_STATES)
            params = ItemStatesParams(self.id, start_index + len(states), left, self._observability)
            page: ItemStatesResult = await self._ask(methods.ITEM_STATES, params)
            states += map(STATES.__getitem__, page.states)
            if page.start_index + len(page.states) >= page.total:
                break
        return states

    async def artifacts(self) -> list[Artifact]:
        """What the run has put so far, in that order; `get_blob(artifact.blob_id)` gives the content.

        Raises:
            RunNotFoundError: There is no such run.
        """
        params = RunParams(self.id, self._observability)
        result: ListArtifactsResult = await self._ask(methods.LIST_ARTIFACTS, params)
        return result.artifacts

    async def _get(self, params: GetRunParams) -> RunStatus:
        params.observability = self._observability
        self._seen = await self._ask(methods.GET_RUN, params)
        return self._seen

    async def _get_page(self, order: ResultOrder, offset: int) -> RunStatus:
        """The status with a page of results."""
        params = GetRunParams(self.id, include_results=True, result_order=order)
        params.result_offset, params.result_limit = offset, PAGE_ITEMS
        return await self._get(params)

    async def _get_events(self, include_sub_runs: bool, types: list[str] | None, cursor: str | None) -> EventsResult:
        """The next events; waits for one."""
        params = EventsParams(self.id, cursor, types, PAGE_ITEMS, LONG_POLL_MS, observability=self._observability)
        params.include_sub_runs = include_sub_runs or None
        result: EventsResult = await self._ask(methods.LIST_EVENTS, params)
        return result

    async def _read_stream(self, namespace: str, start_index: int) -> ReadStreamResult:
        """The next chunks; waits for one."""
        params = ReadStreamParams(
            self.id, namespace, start_index, PAGE_ITEMS, LONG_POLL_MS, observability=self._observability
        )
        result: ReadStreamResult = await self._ask(methods.READ_STREAM, params)
        return result

    async def _ask(self, method: methods.Method, params: Struct) -> Any:
        return await ask_about_run(self._caller, self.id, method, params)

    def _describe_failure(self, status: RunStatus, entries: Sequence[ItemEntry]) -> RunFailedError:
        failures = [
            (entry.item_index, entry.result.error) for entry in entries if entry.result.outcome == Outcome.FAILED
        ]
        index, cause = failures[0] if failures else (None, None)
        detail = f"; item {index}: {_describe_error(cause)}" if failures else ""
        count = status.items.failed
        return RunFailedError(
            f"{count} of {status.items.total} items of the run {self.id} failed{detail}", self.id, cause
        )


def to_ms(duration_s: float | None) -> int | None:
    """Seconds, as Python has them, in the wire's milliseconds."""
    return None if duration_s is None else round(duration_s * 1000)


def _describe_error(error: ItemError | None) -> str:
    return "no error is recorded" if error is None else f"{error.message} ({error.code})"
