"""A handle on one run: it knows the run's id, what was last seen of it, and how to ask for more.

A handle holds no connection and no task. Waiting is done by requests that the runtime answers when there is something
to tell, so nothing is polled, and a lost connection costs a repeated request.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal, TypeAlias, TypeVar, overload

from msgspec import UNSET, Raw, Struct

from component_sdk.caller import Caller
from component_sdk.codec import convert, encode
from component_sdk.errors import RunCancelledError, RunFailedError, RunNotCompletedError, RunNotFoundError, SdkError
from component_sdk.paging import Paged
from component_sdk.results import TERMINAL, EventPages, ResultPages
from component_sdk.streams import StreamPages, StreamReader
from protocol import methods
from protocol.byproducts import (
    DEFAULT_NAMESPACE,
    Artifact,
    ListArtifactsResult,
    ReadStreamParams,
    ReadStreamResult,
)
from protocol.errors import ErrorCode, RpcError
from protocol.types import (
    CancelRunParams,
    CancelRunResult,
    EventsParams,
    EventsResult,
    GetRunParams,
    ItemCounts,
    ItemEntry,
    ItemError,
    Observability,
    Outcome,
    ResultOrder,
    ResumeParams,
    RunEvent,
    RunParams,
    RunState,
    RunStatus,
    SuspensionInfo,
    WaitFor,
    WakeUpParams,
    WakeUpResult,
)

T = TypeVar("T")

Order = Literal["byIndex", "byCompletion"] | ResultOrder
WaitForName: TypeAlias = Literal["terminal", "settled"] | WaitFor

PAGE_ITEMS: Final = 1000
LONG_POLL_MS: Final = 30_000


class Run:
    """One run.

    Args:
        caller: Takes the requests to the runtime.
        id: The run's id; it is not looked up before something is asked.
        status: What is known of it, if anything.
        observability: Goes with every request.
    """

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

    @property
    def status(self) -> RunState:
        return self.last_seen.status

    @property
    def items(self) -> ItemCounts:
        """How many items there are, and how many in each state."""
        return self.last_seen.items

    @property
    def suspensions(self) -> list[SuspensionInfo]:
        """What waits to be resumed, the first hundred."""
        return self.last_seen.suspensions or []

    @property
    def flow_name(self) -> str | None:
        return self.last_seen.flow_name

    @property
    def created_at(self) -> datetime:
        return datetime.fromisoformat(self.last_seen.created_at)

    @property
    def started_at(self) -> datetime | None:
        return _parse_time(self.last_seen.started_at)

    @property
    def completed_at(self) -> datetime | None:
        return _parse_time(self.last_seen.completed_at)

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

    async def artifacts(self) -> list[Artifact]:
        """What the run has put so far, in that order; `get_blob(artifact.blob_id)` gives the content.

        Raises:
            RunNotFoundError: There is no such run.
        """
        params = RunParams(self.id, self._observability)
        result: ListArtifactsResult = await self._ask(methods.LIST_ARTIFACTS, params)
        return result.artifacts

    async def cancel(self, reason: str | None = None, *, grace_s: float | None = None) -> CancelRunResult:
        """Cancel the run and wait until it has ended. On an ended run it changes nothing.

        Args:
            reason: For people; it is kept.
            grace_s: How long what is in flight may still give results; the runtime's default is 5.

        Raises:
            RunNotFoundError: There is no such run.
        """
        params = CancelRunParams(self.id, reason=reason, grace_ms=to_ms(grace_s), observability=self._observability)
        result: CancelRunResult = await self._ask(methods.CANCEL_RUN, params)
        self._seen = result.run
        return result

    async def resume(
        self,
        data: Any = UNSET,
        *,
        step: str | None = None,
        label: str | None = None,
        item_index: int | None = None,
        token: str | None = None,
        request_id: str | None = None,
        wait: bool = False,
        timeout_s: float | None = None,
    ) -> RunStatus:
        """Resume a step that is suspended. What is not said need not be: one suspension must be meant.

        Args:
            data: What the step is resumed with; any value that has a JSON form.
            step, label, item_index, token: Which suspension is meant.
            request_id: The same gives the first answer; default, a new one for each call.
            wait: Wait until the run has ended, or is suspended again.
            timeout_s: Bounds the waiting.

        Raises:
            RpcError: `NOT_SUSPENDED` if there is no such suspension, or several (`data["available"]`);
                `ALREADY_RESUMED`; `VALIDATION_FAILED` if the data does not fit, with `data["issues"]`.
            RunNotFoundError: There is no such run.
        """
        params = ResumeParams(
            self.id,
            step,
            label,
            item_index,
            token,
            UNSET if data is UNSET else Raw(encode(data)),
            request_id or uuid.uuid4().hex,
            wait or None,
            to_ms(timeout_s),
            self._observability,
        )
        return await self._control(methods.RESUME_RUN, params)

    async def wake_up(self, correlation_ids: Sequence[str] | None = None) -> int:
        """End sleeps before their time.

        Args:
            correlation_ids: Of the sleeps that are meant; default, all of the run.

        Returns:
            How many it were.

        Raises:
            RunNotFoundError: There is no such run.
        """
        ids = None if correlation_ids is None else list(correlation_ids)
        result: WakeUpResult = await self._ask(methods.WAKE_UP_RUN, WakeUpParams(self.id, ids, self._observability))
        return result.stopped_count

    async def pause(self) -> RunStatus:
        """Begin no step of the run any more; what is in flight may end."""
        return await self._control(methods.PAUSE_RUN, RunParams(self.id, self._observability))

    async def unpause(self) -> RunStatus:
        """Let a paused run go on."""
        return await self._control(methods.UNPAUSE_RUN, RunParams(self.id, self._observability))

    async def _control(self, method: methods.Method, params: Struct) -> RunStatus:
        self._seen = await self._ask(method, params)
        return self._seen

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


async def ask_about_run(caller: Caller, run_id: str, method: methods.Method, params: Struct) -> Any:
    """Send a request about one run.

    Raises:
        RunNotFoundError: There is no such run.
    """
    try:
        return await caller.call(method, params)
    except RpcError as error:
        if error.code != ErrorCode.RUN_NOT_FOUND:
            raise
        raise RunNotFoundError(error.message, run_id, error) from error


def to_ms(duration_s: float | None) -> int | None:
    """Seconds, as Python has them, in the wire's milliseconds."""
    return None if duration_s is None else round(duration_s * 1000)


def _describe_error(error: ItemError | None) -> str:
    return "no error is recorded" if error is None else f"{error.message} ({error.code})"


def _parse_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
