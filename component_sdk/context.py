"""What a component knows of the execution that it is in, and what it can do from there.

A component that is an `async def` gets a `StepflowContext`; a plain `def` gets the same with methods that block, a
`sync.BlockingContext`. Whatever it asks of the runtime carries the execution's observability, so that it belongs to
this attempt (PROTOCOL §2).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from inspect import isawaitable
from mimetypes import guess_type
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from msgspec import UNSET, Raw, UnsetType

from component_sdk.access import RuntimeAccess
from component_sdk.caller import Caller
from component_sdk.codec import convert, encode
from component_sdk.errors import SdkError
from component_sdk.following import Order, WaitForName
from component_sdk.run import Run
from component_sdk.streams import StreamReader, StreamWriter
from component_sdk.suspension import Resumes, to_seconds
from protocol import methods
from protocol.byproducts import (
    DEFAULT_NAMESPACE,
    Artifact,
    CheckpointParams,
    CheckpointResult,
    PutArtifactParams,
)
from protocol.runs import ResultOrder, RunStatus, SleepParams
from protocol.types import Observability

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


class NoActionTaken(BaseException):
    """Ends a component that has nothing to do; `no_action` raises it.

    It is no `Exception`, so that a component's own `except Exception` lets it pass.

    Args:
        reason: For people.
    """

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason


class Execution:
    """The facts of one attempt at one step."""

    __slots__ = ()

    attempt: int
    """Counts from 1, and grows with every re-execution of the step, whatever the cause."""

    _observability: Observability | None
    _resumes: Resumes

    @property
    def run_id(self) -> str | None:
        return self._facts.run_id

    @property
    def flow_id(self) -> str | None:
        return self._facts.flow_id

    @property
    def step_id(self) -> str | None:
        return self._facts.step_id

    @property
    def item_index(self) -> int | None:
        """Which item of the run, from 0."""
        return self._facts.item_index

    @property
    def log(self) -> FilteringBoundLogger:
        """A structlog logger, bound to run, step, item and attempt; on stderr, unless structlog is configured."""
        import structlog

        facts = {"run_id": self.run_id, "step_id": self.step_id, "item_index": self.item_index, "attempt": self.attempt}
        is_configured = structlog.is_configured()
        logger: FilteringBoundLogger
        logger = structlog.get_logger() if is_configured else structlog.wrap_logger(structlog.WriteLogger(sys.stderr))
        return logger.bind(**{name: value for name, value in facts.items() if value is not None})

    @property
    def traceparent(self) -> str | None:
        """Where the component stands in a trace, as the header of that name (W3C Trace Context); `None` if in none."""
        facts = self._facts
        return f"00-{facts.trace_id}-{facts.span_id}-01" if facts.trace_id and facts.span_id else None

    def no_action(self, reason: str | None = None) -> NoReturn:
        """End the component here: there was nothing to do.

        Args:
            reason: For people.
        """
        raise NoActionTaken(reason)

    @property
    def _facts(self) -> Observability:
        return self._observability or Observability()


class StepflowContext(RuntimeAccess, Execution):
    """The context of an `async def` component.

    Args:
        caller: Takes requests to the runtime.
        observability: As it came with the execution.
        attempt: Counts from 1.
        resumes: What the step was resumed with before.
    """

    __slots__ = ("_resumes", "attempt")

    def __init__(
        self,
        caller: Caller,
        observability: Observability | None = None,
        attempt: int = 1,
        resumes: Resumes | None = None,
    ) -> None:
        super().__init__(caller, observability)
        self.attempt = attempt
        self._resumes = resumes or Resumes()

    async def get_run(
        self,
        run_id: str,
        wait: bool = False,
        include_results: bool = False,
        result_order: Order = "byIndex",
        *,
        wait_for: WaitForName | None = None,
        timeout_s: float | None = None,
    ) -> RunStatus:
        """Look a run up.

        Args:
            run_id: The run.
            wait: Answer when it has ended.
            include_results: With all results so far.
            result_order: `byIndex`, or `byCompletion`: as they ended.
            wait_for: `settled`: also when it is suspended.
            timeout_s: Bounds the waiting; then the status is the answer as it is.

        Raises:
            RunNotFoundError: There is no such run, or it may not be seen from here.
        """
        return await self._get_run(run_id, wait, include_results, ResultOrder(result_order), wait_for, timeout_s)

    def stream(self, namespace: str = DEFAULT_NAMESPACE, *, run_id: str | None = None) -> StreamWriter:
        """A writer for a stream of this run.

        Args:
            namespace: Which of the run's streams; it is made by the first write.
            run_id: Another run's stream, e.g. that of a parent; it must be visible from here.
        """
        return StreamWriter(self._caller, run_id or self._own_run, namespace, self._observability)

    def read_stream(
        self, run_id: str, namespace: str = DEFAULT_NAMESPACE, start_index: int = 0, type: Any = None
    ) -> StreamReader:
        """The chunks of another run's stream, as `Run.stream` gives them. One's own run does not end before oneself."""
        return Run(self._caller, run_id, observability=self._observability).stream(namespace, start_index, type)

    async def checkpoint(self, key: str, function: Callable[[], Any], type: Any = None) -> Any:
        """Do something once, whatever is executed again: its value is kept, and later attempts get that.

        Args:
            key: Names it within this step and item.
            function: Called without arguments if nothing is kept yet; may be an `async def`. Its value must be one that
                can be written as JSON.
            type: The type to read the value as; `None` for plain JSON.

        Returns:
            The value that is kept, read back from JSON.

        Raises:
            RpcError: `LIMIT_EXCEEDED`, `NOT_CURRENT`.
        """
        kept = await self._checkpoint(key)
        if not kept.stored:
            value = function()
            kept = await self._checkpoint(key, Raw(encode(await value if isawaitable(value) else value)))
        return convert(kept.value, type)

    async def _checkpoint(self, key: str, value: Raw | UnsetType = UNSET) -> CheckpointResult:
        params = CheckpointParams(self._own_run, key, value, self._observability)
        result: CheckpointResult = await self._caller.call(methods.CHECKPOINT, params)
        return result

    async def put_artifact(
        self,
        name: str,
        data: Any,
        *,
        mime_type: str | None = None,
        type: str | None = None,
        item_index: int | None = None,
    ) -> Artifact:
        """Keep something that people want to have, as long as the run is kept.

        Args:
            name: As a file name.
            data: `bytes` or `str`; anything else is stored as JSON.
            mime_type: Default: what the name suggests, else what the data is.
            type: What it is to you.
            item_index: Of which item; default, the one that is executed.

        Raises:
            RpcError: `LIMIT_EXCEEDED`, `NOT_CURRENT`.
        """
        content, blob_type, natural = describe_content(data)
        blob_id = await self.put_blob(content, blob_type)
        params = PutArtifactParams(
            self._own_run,
            name,
            mime_type or guess_type(name)[0] or natural,
            blob_id,
            type,
            item_index,
            self._observability,
        )
        artifact: Artifact = await self._caller.call(methods.PUT_ARTIFACT, params)
        return artifact

    @property
    def _own_run(self) -> str:
        if self.run_id is None:
            raise SdkError("The runtime does not say which run this is, so nothing can be added to it.")
        return self.run_id

    async def suspend(
        self,
        payload: Any = None,
        *,
        schema: Any = None,
        label: str | None = None,
        token: str | None = None,
        timeout: float | timedelta | None = None,
    ) -> Any:
        """Leave until somebody resumes this step; then it is executed again from its top, and this returns.

        Nothing is held meanwhile, for months if need be: no process, no slot. See `Resumes.suspend`, which this is.

        Args:
            payload: For whoever resumes it: any value that has a JSON form.
            schema: What it may be resumed with: a JSON Schema, or a type, as which the data is then read.
            label: Names it among the suspensions of the step; default, which of them it is: "1" for the first.
            token: Names it everywhere, as long as it waits.
            timeout: After which the step fails, in seconds.

        Returns:
            What it was resumed with.

        Raises:
            Suspended: It was not resumed yet; let it pass.
            Unfit: The data is not of the type.
        """
        return self._resumes.suspend(payload, schema=schema, label=label, token=token, timeout=timeout)

    async def sleep(self, duration: float | timedelta | datetime, *, correlation_id: str | None = None) -> bool:
        """Sleep, also over restarts: executed again, the component sleeps only for the rest.

        The execution goes on meanwhile and takes no server slot. For long sleeps a `/builtin/sleep` step holds less.

        Args:
            duration: For how long, in seconds, or until when.
            correlation_id: Names the sleep, for `wake_up`.

        Returns:
            Whether it was woken before its time.
        """
        params = SleepParams(correlation_id=correlation_id, run_id=self.run_id, observability=self._observability)
        if isinstance(duration, datetime):
            params.until = duration.astimezone(UTC).isoformat()
        else:
            params.duration_ms = max(round(to_seconds(duration) * 1000), 0)
        woken: bool = (await self._caller.call(methods.SLEEP, params)).woken
        return woken

    @property
    def caller(self) -> Caller:
        """What takes its requests to the runtime."""
        return self._caller

    def over(self, caller: Caller) -> StepflowContext:
        """The same context, with its requests going another way."""
        return StepflowContext(caller, self._observability, self.attempt, self._resumes)


def describe_content(data: Any) -> tuple[Any, Literal["data", "binary"], str]:
    """What is stored of an artifact's data, as which kind of blob, and the type that it has by itself."""
    if isinstance(data, str):
        return data.encode(), "binary", "text/plain"
    if type(data) in (bytes, bytearray, memoryview):
        return data, "binary", "application/octet-stream"
    return data, "data", "application/json"
