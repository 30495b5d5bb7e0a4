"""A component as it is registered: a function, what it says about itself, and the path under which it answers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from msgspec import UNSET, Struct

from component_sdk.batch import Batch
from component_sdk.codec import make_decoder, make_schema
from component_sdk.errors import RegistrationError
from component_sdk.signature import Signature, read_signature
from protocol.types import ComponentInfo


class Component(Struct, frozen=True):
    """One component.

    Args:
        info: As it is told to the runtime.
        signature: How its function is called.
        timeout_s: Bounds one execution, or one batch; `None` leaves that to the flow.
        resume: What it may be resumed with where it does not say so itself.
        infer: The JSON Schema of its output for that of an input; `None` where it always gives what it declares.
    """

    info: ComponentInfo
    signature: Signature
    timeout_s: float | None = None
    resume: Any = None
    infer: Callable[[Any], Any] | None = None

    def infer_schema(self, input_schema: Any) -> Any:
        """The schema of what it gives for such an input; `UNSET` for any JSON."""
        if self.infer is None:
            return self.info.output_schema
        found: Any = self.infer(input_schema)
        if found is None:
            return UNSET
        return make_schema(found, written=True) if not _is_schema(found) else found

    @property
    def is_batched(self) -> bool:
        """Whether it is called with lists."""
        return self.info.batch is not None


def _is_schema(value: object) -> bool:
    return isinstance(value, bool | dict)


def make_component(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float | None = None,
    backend: str | None = None,
    batch: Batch | bool = False,
    resume: Any = None,
    infer: Callable[[Any], Any] | None = None,
) -> Component:
    """Make a component of a function.

    Args:
        function: Takes one input and perhaps a context, see `signature`.
        name: `double` answers `/double`, `math/double` answers `/math/double`; default, the function's name.
        description: Default, the first line of the docstring.
        timeout_s: Bounds one execution, or one batch.
        backend: `asyncio` for an `async def` that needs asyncio.
        batch: Whether it takes a list of inputs, with a context for each, and returns a list of outputs; and how many.
        resume: The type, or JSON Schema, of what `ctx.suspend` returns where it names none.
        infer: Given the JSON Schema of an input, tells the JSON Schema, or the type, of the output for it; `None` for
            any JSON.

    Raises:
        RegistrationError: It cannot be a component as it is written.
    """
    path = "/" + (getattr(function, "__name__", "") if name is None else name).strip("/")
    if path == "/":
        raise RegistrationError("The component has no name; give it one with name=.")
    if timeout_s is not None and timeout_s <= 0:
        raise RegistrationError(f"timeout_s={timeout_s} of {path} is not a time in which anything can end.")
    if batch is True:
        batch = Batch()
    signature = read_signature(function, backend, batched=bool(batch))
    try:
        make_decoder(signature.input_type)
    except TypeError as error:
        raise RegistrationError(f"JSON cannot be read as the input type of {path}: {error}") from error
    if description is None and (doc := inspect.getdoc(function)):
        description = doc.partition("\n")[0]
    info = ComponentInfo(
        path,
        description=description,
        input_schema=make_schema(signature.input_type) if signature.takes_input else UNSET,
        output_schema=make_schema(signature.output_type, written=True),
        batch=batch.info if batch else None,
    )
    return Component(info, signature, timeout_s, resume, infer)
