"""Components that execute many items at once: what is said about them, and how one of their batches is executed.

The function takes a list of inputs and returns a list of outputs; an exception in it is the end of that entry alone.
What comes off the wire and goes onto it is the business of `serve`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, TypeGuard

from msgspec import Struct

from component_sdk.context import StepflowContext
from component_sdk.errors import RegistrationError
from protocol.types import BatchInfo

if TYPE_CHECKING:
    from component_sdk.backends import Call


class Batch(Struct, frozen=True):
    """How a component wants its batches.

    Args:
        max_size: Inputs in one call, at most.
        max_wait_s: How long the first input may wait for others. None waits when no others can come.
    """

    max_size: int = 100
    max_wait_s: float = 0.005

    def __post_init__(self) -> None:
        if self.max_size < 1 or self.max_wait_s < 0:
            raise RegistrationError(f"{self} is no batch: max_size is at least 1, and max_wait_s at least 0.")

    @property
    def info(self) -> BatchInfo:
        """As it is told to the runtime."""
        return BatchInfo(self.max_size, ceil(self.max_wait_s * 1000))


async def call_together(call: Call, values: list[Any], contexts: list[StepflowContext]) -> Sequence[Any]:
    """Calls a batched component.

    Returns:
        An output for each value, or the exception that it ended with.

    Raises:
        ValueError: It returned something else.
        BaseException: What it raised: all values ended with that.
    """
    outputs = await call(values, contexts)
    if not _is_list(outputs):
        raise TypeError(f"A batched component returns a list of outputs, and this one a {type(outputs).__name__}.")
    if len(outputs) != len(values):
        raise ValueError(
            f"The component returned {len(outputs)} outputs for {len(values)} inputs; each input has one, "
            "which may be an exception."
        )
    return outputs


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


async def call_alone(call: Call, value: Any, context: StepflowContext | None) -> Any:
    """Calls a batched component with a batch of one.

    Raises:
        BaseException: What it raised, or returned in place of an output.
    """
    (output,) = await call_together(call, [value], [] if context is None else [context])
    if isinstance(output, BaseException):
        raise output
    return output
