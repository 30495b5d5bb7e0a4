"""Executions of steps, and who carries them out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from protocol.types import ComponentInfo
from stepflow_runtime.model.ids import BlobId, ExecutionId, RunId
from stepflow_runtime.model.outcome import Answer, Resume
from stepflow_runtime.model.secret import NO_SECRETS, Secrets
from stepflow_runtime.model.trace import SpanContext


class Execution(Struct, eq=False):
    """One attempt of one step of one item, from its dispatch to its answer.

    The engine makes it and a `ComponentCaller` carries it out. `owner` and `timeout` belong to the engine, `place` and
    `sent_at` to the caller, `claims` and `submissions` to the service that submits runs, `echoes` to that of streams.

    Attributes:
        input: Raw JSON.
        alone: Whether nothing else may be in flight on the process that executes it (PROTOCOL §6).
        begins_item: Whether the item starts with it: items that are under way go first.
        waiting: How many requests to the runtime this execution is parked in; while there is one, it takes no
            server slot.
        claims: The sub-runs that it submitted or found again, by key; `None` while there are none.
        resumes: What the step was resumed with before.
        secrets: What the tokens in its input stand for; empty if there are none.
        sent_at: When it was sent, on the monotonic clock; set with the place that it has then.
        submissions: How often it submitted each content, by hash; `None` likewise.
        trace: The span that it belongs to; `None` if its run is not traced.
        echoes: What earlier attempts wrote to streams and this one has not yet; `None` while it wrote nothing.
    """

    owner: Any
    execution_id: ExecutionId
    run_id: RunId
    root_run_id: RunId
    flow_id: BlobId
    item_index: int
    step_id: str
    component: str
    attempt: int
    input: bytes
    timeout_ms: int | None = None
    alone: bool = False
    begins_item: bool = False
    secrets: Secrets = NO_SECRETS
    resumes: Sequence[Resume] = ()
    trace: SpanContext | None = None
    waiting: int = 0
    sent_at: float = 0.0
    place: Any = None
    timeout: Any = None
    claims: dict[str, RunId] | None = None
    submissions: dict[str, int] | None = None
    echoes: dict[tuple[RunId, str], Counter[bytes]] | None = None


Answered = tuple[Execution, Answer]
"""An execution that ended, and how."""


class ExecutionSink(Protocol):
    """Where a `ComponentCaller` reports to; the engine implements it."""

    def dispatched(self, execution: Execution) -> None:
        """The request was written for a server: time-outs count from here. Called only if `timeout_ms` is set."""
        ...

    def answered(self, answers: Iterable[Answered]) -> None:
        """These executions ended, in this order. Cheap: what follows from it happens in `end_turn`."""
        ...

    def has_others(self, execution: Execution, count: int) -> bool:
        """Whether more than `count` items of its run are under way, or some about to begin: what may yet come to the
        step of this execution, beside so many that wait there."""
        ...

    def end_turn(self) -> None:
        """All answers of one received chunk were reported."""
        ...


class ComponentCaller(Protocol):
    """Executes steps in component servers. Never waits; each `call` is answered once in the sink, unless cancelled."""

    def knows(self, component: str) -> bool:
        """Whether a route leads to this component's plugin. The component itself may still be missing."""
        ...

    def call(self, execution: Execution) -> None:
        """Queues an execution. It is sent when a server slot is free, round-robin over root runs."""
        ...

    def cancel(self, execution: Execution) -> None:
        """It is no longer current: taken out of the queue, or its server asked to stop. The sink hears no more of it,
        and what it still asks of the runtime is refused."""
        ...

    def interrupt(self, execution: Execution) -> None:
        """Asks for its end, and it stays current until then: it is answered once, with `CANCELLED` if it was queued,
        else with what the server says."""
        ...

    def park(self, execution: Execution) -> None:
        """The execution waits in a request to the runtime: its server slot is free meanwhile."""
        ...

    def unpark(self, execution: Execution) -> None:
        """The wait is over."""
        ...

    def flush(self) -> None:
        """Fills free server slots and sends what is queued: the end of a turn."""
        ...


class ComponentCatalog(Protocol):
    """Tells about components, by the paths by which flows call them."""

    async def describe(self, component: str) -> ComponentInfo | None:
        """What a component says of itself; `None` if there is none of this path.

        Raises:
            RpcError: `RESOURCE_UNAVAILABLE` if no server answers in time.
        """
        ...

    async def infer_schema(self, component: str, input_schema: Any) -> Any:
        """The schema of what a component gives for such an input; `UNSET` if it is not known.

        Raises:
            RpcError: The component's server could not tell.
        """
        ...
