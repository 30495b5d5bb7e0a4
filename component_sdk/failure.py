"""What went wrong in a component, as the error that is answered (PROTOCOL §6)."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Final, cast

from component_sdk.codec import Unfit
from component_sdk.errors import ResourceUnavailable
from protocol.errors import ErrorCode, RpcError

MAX_MESSAGE_CHARS: Final = 4 * 1024
MAX_STACK_CHARS: Final = 16 * 1024


def describe_failure(error: BaseException) -> RpcError:
    """The answer to an execution in which the component raised.

    Args:
        error: What it raised. A group of one is taken for the one.
    """
    leaves = list(iterate_leaves(error))
    if len(leaves) == 1:
        error = leaves[0]
    is_unavailable = isinstance(error, ResourceUnavailable)
    code = ErrorCode.RESOURCE_UNAVAILABLE if is_unavailable else ErrorCode.COMPONENT_FAILED
    return RpcError(
        code, _cut(f"{type(error).__name__}: {_text(error)}", MAX_MESSAGE_CHARS), stack=_format_stack(error)
    )


def iterate_leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group of groups; an exception that is no group is its own leaf."""
    if isinstance(error, BaseExceptionGroup):
        for part in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from iterate_leaves(part)
    else:
        yield error


def describe_unfit(component: str, misfit: Unfit) -> RpcError:
    """The answer to an execution whose input does not fit the component."""
    message = f"The input does not fit {component}: {misfit}"
    return RpcError(ErrorCode.INVALID_INPUT, _cut(message, MAX_MESSAGE_CHARS), path=misfit.path)


def describe_unknown(component: str, known: list[str]) -> RpcError:
    """The answer to a request about a component that is not here."""
    names = ", ".join(sorted(known)[:20]) or "none"
    return RpcError(ErrorCode.METHOD_NOT_FOUND, f"There is no component {component} here; there are: {names}.")


def _format_stack(error: BaseException) -> str:
    """The traceback; of a long one the end, which says most."""
    try:
        stack = "".join(traceback.format_exception(error))
    except Exception:  # a traceback calls `__str__` of what the component raised
        return ""
    return stack if len(stack) <= MAX_STACK_CHARS else "…\n" + stack[2 - MAX_STACK_CHARS :]


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be had)"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
