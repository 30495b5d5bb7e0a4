"""For tests of components: execute one with no process and no wire.

    def test_double():
        assert run_component(double, {"item": 2}) == {"doubled": 4}

Input and output are JSON, and go through the component's types as they would on the wire. What the component asks of
the runtime is answered by a `FakeRuntime`: blobs in memory, and sub-runs whose items are computed by plain functions;
these can be read, restarted and travelled. It executes no flows: that is what a real runtime is for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from functools import partial
from typing import Any

import msgspec
import trio
from msgspec import Raw, Struct

from component_sdk.backends import Backends
from component_sdk.batch import call_together
from component_sdk.codec import decode, encode, make_decoder
from component_sdk.component import make_component
from component_sdk.context import NoActionTaken, StepflowContext
from component_sdk.failure import iterate_leaves
from component_sdk.fake_runs import FakeRuns, RunItem
from component_sdk.fakes import FakeByproducts
from component_sdk.suspension import Resumes, Suspended
from protocol.errors import ErrorCode, RpcError
from protocol.methods import Method
from protocol.runs import (
    SleepParams,
    SleepResult,
)
from protocol.types import (
    BlobType,
    GetBlobParams,
    GetBlobResult,
    NoAction,
    Observability,
    PutBlobParams,
    PutBlobResult,
    Resume,
)

_NOW = "2025-01-15T10:30:00.000Z"

RUN_ID = "run-under-test"
"""Of the run that a component is executed in, if nothing else is said."""


class FakeRuntime:
    """A runtime in memory. Every sub-run has ended when its submission is answered.

    Args:
        run_item: Computes the items of sub-runs; or give `flows`.
        flows: The same by the flow's name: functions of the input.

    Attributes:
        blobs: JSON by blob id.
        submissions: What was submitted, in order.
        controls: What was asked of runs besides reading them, in order: restarts, travels, cancellations, …
        sleeps: How long components slept; none of it takes time here.
        runs: The runs by id, with all results.
        byproducts: The streams, checkpoints and artifacts.
    """

    def __init__(
        self, run_item: RunItem | None = None, *, flows: Mapping[str, Callable[[Any], Any]] | None = None
    ) -> None:
        self.blobs: dict[str, tuple[Any, BlobType]] = {}
        self.sleeps: list[SleepParams] = []
        self.byproducts = FakeByproducts(_NOW)
        self._runs = FakeRuns(lambda flow_id: self._find_blob(flow_id)[0], self._compute, _NOW)
        self.submissions, self.controls, self.runs = self._runs.submissions, self._runs.controls, self._runs.runs
        self._run_item = run_item
        self._flows = dict(flows or {})

    def put_blob(self, data: Any, blob_type: BlobType = BlobType.DATA) -> str:
        """Store content, e.g. a flow of which a component is given the id."""
        raw = msgspec.json.encode(msgspec.to_builtins(data), order="sorted")
        blob_id = f"blake3:{hashlib.blake2b(raw, digest_size=32).hexdigest()}"
        self.blobs[blob_id] = (msgspec.json.decode(raw), blob_type)
        return blob_id

    async def call(self, method: Method, params: Struct) -> Any:
        """Answer a request, as the wire's `Caller` does.

        Raises:
            RpcError: As a runtime would.
        """
        await trio.lowlevel.checkpoint()
        match params:
            case PutBlobParams():
                return PutBlobResult(self.put_blob(msgspec.json.decode(params.data), params.blob_type or BlobType.DATA))
            case GetBlobParams():
                return GetBlobResult(*self._find_blob(params.blob_id))
            case SleepParams():
                self.sleeps.append(params)
                return SleepResult(woken=False)
            case _ if method.name in self._runs.answers:
                return await self._runs.answers[method.name](params)
            case _:
                answer = self.byproducts.answer(method, params)
                if answer is None:
                    raise RpcError(ErrorCode.METHOD_NOT_FOUND, f"FakeRuntime does not know {method.name}.")
                return answer

    def _find_blob(self, blob_id: str) -> tuple[Any, BlobType]:
        if blob_id not in self.blobs:
            raise RpcError(ErrorCode.NOT_FOUND, f"There is no blob {blob_id}; put it first.", kind="blob")
        return self.blobs[blob_id]

    def _compute(self, flow: Mapping[str, Any], value: Any) -> Any:
        function = self._flows.get(flow.get("name", ""))
        if function is not None:
            return function(value)
        if self._run_item is not None:
            return self._run_item(flow, value)
        raise LookupError(f"this FakeRuntime cannot run the flow {flow.get('name')!r}; give it run_item= or flows=")


def run_component(function: Callable[..., Any], input: Any = None, **options: Any) -> Any:
    """Execute a component once, blocking; under trio use `execute_component`, whose arguments it has."""
    return trio.run(partial(execute_component, function, input, **options))


async def execute_component(
    function: Callable[..., Any],
    input: Any = None,
    *,
    runtime: FakeRuntime | None = None,
    backend: str | None = None,
    attempt: int = 1,
    resumes: Mapping[str, Any] | None = None,
    **facts: Any,
) -> Any:
    """Execute a component once.

    Args:
        function: As it would be registered.
        input: JSON, or a value of the component's input type.
        runtime: Answers what the component asks; default, an empty one.
        backend: As it would be registered.
        attempt: What the context says, as `facts` (`run_id`, `flow_id`, `step_id`, `item_index`).
        resumes: What its suspensions are resumed with, by label: "1" is the first without one.

    Returns:
        The output as JSON values; `NoAction` if the component took none, `Suspend` if it waits to be resumed.

    Raises:
        Unfit: The input does not fit the component.
        Exception: What the component raises.
    """
    signature = make_component(function, name="under_test", backend=backend).signature
    value = decode(make_decoder(signature.input_type), encode(input)) if signature.takes_input else None
    given = Resumes(Resume(label, Raw(encode(data))) for label, data in (resumes or {}).items())
    known: dict[str, Any] = {"run_id": RUN_ID, **facts}
    told = Observability(**known)
    context = StepflowContext(runtime or FakeRuntime(), told, attempt, given)
    backends = Backends()
    try:
        output = await backends.prepare(signature)(value, context)
    except BaseException as error:
        for leaf in iterate_leaves(error):
            match leaf:
                case NoActionTaken(reason=reason):
                    return NoAction(reason)
                case Suspended(suspend=suspend):
                    return suspend
                case _:
                    pass
        raise
    finally:
        backends.close()
    return msgspec.json.decode(encode(output))


def run_batch(function: Callable[..., Any], inputs: Iterable[Any], **options: Any) -> list[Any]:
    """Execute a component that takes batches once, blocking; under trio use `execute_batch`."""
    return trio.run(partial(execute_batch, function, inputs, **options))


async def execute_batch(
    function: Callable[..., Any],
    inputs: Iterable[Any],
    *,
    runtime: FakeRuntime | None = None,
    backend: str | None = None,
    attempt: int = 1,
    **facts: Any,
) -> list[Any]:
    """Execute a component that takes batches once, as the items 0, 1, … of a run.

    Args:
        function: As it would be registered with `batch=`.
        inputs: Each JSON, or a value of the component's input type.
        runtime: Answers what the component asks; default, an empty one.
        backend: As it would be registered.
        attempt: What the contexts say, as `facts` (`run_id`, `flow_id`, `step_id`).

    Returns:
        For each input its output as JSON values, or the exception that the component returned in its place.

    Raises:
        Unfit: An input does not fit the component.
        Exception: What the component raises, or that it returned another number of outputs.
    """
    signature = make_component(function, name="under_test", backend=backend, batch=True).signature
    values = [decode(make_decoder(signature.input_type), encode(value)) for value in inputs]
    caller = runtime or FakeRuntime()
    known = msgspec.structs.replace(Observability(run_id=RUN_ID), **facts)
    contexts = [
        StepflowContext(caller, msgspec.structs.replace(known, item_index=index), attempt)
        for index in range(len(values))
    ]
    with closing(Backends()) as backends:
        outputs = await call_together(backends.prepare(signature), values, contexts)
    return [output if isinstance(output, BaseException) else msgspec.json.decode(encode(output)) for output in outputs]
