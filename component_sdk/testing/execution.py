"""Components executed once, with no process and no wire.

Input and output are JSON, and go through the component's types as they would on the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from functools import partial
from typing import Any

import msgspec
import trio
from msgspec import Raw

from component_sdk.backends import Backends
from component_sdk.batch import call_together
from component_sdk.codec import decode, encode, make_decoder
from component_sdk.component import Component, make_component
from component_sdk.context import NoActionTaken, StepflowContext
from component_sdk.failure import iterate_leaves
from component_sdk.suspension import Resumes, Suspended
from component_sdk.testing.fake_runtime import FakeRuntime
from protocol.types import NoAction, Observability, Resume

RUN_ID = "run-under-test"
"""Of the run that a component is executed in, if nothing else is said."""


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
    component = make_component(function, name="under_test", backend=backend)
    given = Resumes(Resume(label, Raw(encode(data))) for label, data in (resumes or {}).items())
    known: dict[str, Any] = {"run_id": RUN_ID, **facts}
    context = StepflowContext(runtime or FakeRuntime(), Observability(**known), attempt, given)
    return await execute_once(component, input, context)


async def execute_once(component: Component, input: Any, context: StepflowContext) -> Any:
    """The same for a component as it is registered; one that takes batches gets a batch of one."""
    signature = component.signature
    value = decode(make_decoder(signature.input_type), encode(input)) if signature.takes_input else None
    backends = Backends()
    try:
        call = backends.prepare(signature)
        if component.is_batched:
            (output,) = await call_together(call, [value], [context])
            if isinstance(output, BaseException):
                raise output
        else:
            output = await call(value, context)
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
