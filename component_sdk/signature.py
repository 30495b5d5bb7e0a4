"""What a function says about itself, so that it can be a component: its input, its output, and where the context goes.

Hints may be written as strings. The parameter annotated with a context type gets the context, or an unannotated one
that is named `ctx` or `context`; the other one, if there is one, gets the input. A function that takes batches says the
same with lists: `list[Input]`, `list[StepflowContext]`, and `list[Output]`.
"""

from __future__ import annotations

import collections.abc
import inspect
import re
import types
import typing
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from component_sdk.context import Execution, StepflowContext
from component_sdk.errors import RegistrationError

CONTEXT_NAMES: Final = ("ctx", "context")
BATCH_CONTEXT_NAMES: Final = (*CONTEXT_NAMES, "ctxs", "contexts")
CONTEXT_TYPES: Final = ("StepflowContext", "BlockingContext")


_LISTS: Final = (list, collections.abc.Sequence)
_LIST_HINT: Final = re.compile(r"(?:\w+\.)*(?:list|List|Sequence)\[(.+)\]")


class Backend(StrEnum):
    """Where a component runs."""

    TRIO = "trio"
    ASYNCIO = "asyncio"
    THREAD = "thread"


class Signature(Struct, frozen=True):
    """How to call a component's function.

    Args:
        call: Calls it with (input, context), of which it takes what it wants; an `async def` gives its coroutine. Both
            are lists if it takes batches; the types are those of their elements.
        backend: Where it has to run.
        input_type: `Any` for any JSON.
        output_type: `Any` for any JSON.
        takes_input: Whether it looks at its input.
        takes_context: Whether it wants a context.
    """

    call: Callable[[Any, Any], Any]
    backend: Backend
    input_type: Any
    output_type: Any
    takes_input: bool
    takes_context: bool


def read_signature(function: Callable[..., Any], backend: str | None = None, *, batched: bool = False) -> Signature:
    """Read a function.

    Args:
        function: A function, a method, or any object that can be called.
        backend: `asyncio` for an `async def` that needs asyncio.
        batched: Whether it takes a list of inputs and returns a list of outputs.

    Raises:
        RegistrationError: It cannot be a component as it is written.
    """
    name = getattr(function, "__qualname__", type(function).__qualname__)
    parameters = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty or _may_fill(p)]
    returned = inspect.signature(function).return_annotation
    if batched:
        parameters = [p.replace(annotation=_take_element(function, p.annotation, p.name, name)) for p in parameters]
        returned = _take_element(function, returned, "return", name)
    context = _find_context(function, parameters, name, BATCH_CONTEXT_NAMES if batched else CONTEXT_NAMES)
    inputs = [p for p in parameters if p is not context]
    required = [p for p in inputs if p.default is p.empty] or inputs[:1]
    if len(required) > 1 or any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in inputs):
        names = ", ".join(str(p) for p in inputs)
        raise RegistrationError(
            f"{name} takes ({names}): a component takes one input, and perhaps a context; put the fields into one type."
        )
    input_ = required[0] if required else None
    output_type = _resolve(function, returned, name)
    if batched and input_ is None:
        raise RegistrationError(f"{name} takes no input: with batch=, a component takes a list of them.")
    return Signature(
        call=_bind(function, input_, context),
        backend=_choose_backend(function, backend, context, name),
        input_type=_resolve(function, input_.annotation, name) if input_ else Any,
        output_type=_drop_exceptions(output_type) if batched else output_type,
        takes_input=input_ is not None,
        takes_context=context is not None,
    )


def _take_element(function: Callable[..., Any], hint: Any, what: str, name: str) -> Any:
    """The hint of one element of a list; no hint if the list has none."""
    if isinstance(hint, str):
        if in_list := _LIST_HINT.fullmatch(hint):
            return in_list[1]
        hint = _resolve(function, hint, name)
    if hint in (inspect.Parameter.empty, Any, object, *_LISTS):
        return inspect.Parameter.empty
    if typing.get_origin(hint) not in _LISTS:
        written = hint.__name__ if isinstance(hint, type) else str(hint)
        raise RegistrationError(
            f"{name} has the hint {what}: {written}; with batch= a component takes a list of inputs, perhaps a list of "
            f"contexts, and returns a list of outputs: list[{written}]."
        )
    return typing.get_args(hint)[0]


def _drop_exceptions(hint: Any) -> Any:
    """The type of what succeeds: an output of a batch may be an exception, too."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    outputs = tuple(member for member in typing.get_args(hint) if not _is_exception(member))
    return typing.Union[outputs] if outputs else Any  # noqa: UP007 – made while it runs


def _is_exception(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseException)


def _may_fill(parameter: inspect.Parameter) -> bool:
    """A parameter with a default is filled if it is positional: `def component(input=None)` takes an input."""
    return parameter.kind is not parameter.KEYWORD_ONLY or parameter.name in BATCH_CONTEXT_NAMES


def _find_context(
    function: Callable[..., Any], parameters: list[inspect.Parameter], name: str, names: tuple[str, ...]
) -> inspect.Parameter | None:
    annotated = [p for p in parameters if _is_context(function, p.annotation)]
    if len(annotated) > 1:
        raise RegistrationError(f"{name} takes {len(annotated)} contexts; one is enough.")
    named = [p for p in parameters if p.name in names and p.annotation is p.empty]
    return next(iter(annotated + named), None)


def _is_context(function: Callable[..., Any], hint: Any) -> bool:
    if isinstance(hint, str):
        if hint.strip("\"' ").rpartition(".")[2] in CONTEXT_TYPES:  # perhaps imported for type checkers only
            return True
        try:
            hint = _evaluate(function, hint)
        except Exception:
            return False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_is_context(function, member) for member in typing.get_args(hint))
    return isinstance(hint, type) and issubclass(hint, Execution)


def _resolve(function: Callable[..., Any], hint: Any, name: str) -> Any:
    if hint is inspect.Parameter.empty:
        return Any
    if isinstance(hint, str):
        try:
            hint = _evaluate(function, hint)
        except Exception as error:
            raise RegistrationError(
                f"The hint {hint!r} of {name} is not understood ({error}); define or import it at the module's top."
            ) from error
    return types.NoneType if hint is None else hint


def _evaluate(function: Callable[..., Any], hint: str) -> Any:
    plain: Any = inspect.unwrap(function)
    plain = getattr(plain, "__func__", plain)
    if not isinstance(plain, types.FunctionType):
        plain = type(plain).__call__  # an object that can be called
    enclosing = dict(inspect.getclosurevars(plain).nonlocals)
    probe = types.SimpleNamespace(__annotations__={"hint": hint}, __module__=plain.__module__)
    return typing.get_type_hints(probe, plain.__globals__, enclosing, include_extras=True)["hint"]


def _choose_backend(
    function: Callable[..., Any], backend: str | None, context: inspect.Parameter | None, name: str
) -> Backend:
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise RegistrationError(f"{name} yields; a component returns its output once.")
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
    if not is_async:
        if backend is not None:
            raise RegistrationError(f"{name} is a plain `def`, which runs in a thread; leave backend= away.")
        return Backend.THREAD
    hint = context.annotation if context else None
    if getattr(hint, "__name__", hint) == "BlockingContext":
        raise RegistrationError(f"{name} is an `async def`: annotate its context as {StepflowContext.__name__}.")
    try:
        chosen = Backend(backend or Backend.TRIO)
    except ValueError:
        chosen = Backend.THREAD
    if chosen is Backend.THREAD:
        raise RegistrationError(f"backend={backend!r} of {name} is not known; it is 'trio' (the default) or 'asyncio'.")
    return chosen


def _bind(
    function: Callable[..., Any], input_: inspect.Parameter | None, context: inspect.Parameter | None
) -> Callable[[Any, Any], Any]:
    """The function as one of (input, context). The layouts that are common cost one call more and no dict."""
    wanted = [parameter for parameter in (input_, context) if parameter is not None]
    if any(parameter.kind is parameter.KEYWORD_ONLY for parameter in wanted):
        return _bind_by_name(function, input_, context)
    match input_, context:
        case None, None:
            return lambda value, ctx: function()
        case _, None:
            return lambda value, ctx: function(value)
        case None, _:
            return lambda value, ctx: function(ctx)
        case _:
            assert input_ is not None
            assert context is not None
            order = list(inspect.signature(function).parameters)
            if order.index(input_.name) < order.index(context.name):
                return (
                    function if order[:2] == [input_.name, context.name] else _bind_by_name(function, input_, context)
                )
            return lambda value, ctx: function(ctx, value)


def _bind_by_name(
    function: Callable[..., Any], input_: inspect.Parameter | None, context: inspect.Parameter | None
) -> Callable[[Any, Any], Any]:
    def call(value: Any, ctx: Any) -> Any:
        arguments = {input_.name: value} if input_ else {}
        if context:
            arguments[context.name] = ctx
        return function(**arguments)

    return call
