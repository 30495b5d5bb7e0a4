"""Executes components as the runtime asks, and answers: the way that every item takes (PROTOCOL §2).

One at a time, or a batch with an end for each entry. Knows nothing of queues and cancellation: `workers` calls it;
`serve` is above.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import msgspec
import trio
from msgspec import Meta, Raw, Struct

from component_sdk.backends import Backends, Call
from component_sdk.batch import call_alone, call_together
from component_sdk.caller import LinkCaller
from component_sdk.codec import Decode, describe_misfit, encode, make_decoder
from component_sdk.component import Component
from component_sdk.context import NoActionTaken, StepflowContext
from component_sdk.failure import describe_failure, describe_unfit, iterate_leaves
from component_sdk.suspension import Resumes, Suspended
from protocol.errors import ErrorCode, RpcError
from protocol.link import Link
from protocol.messages import UNREADABLE, encode_error
from protocol.methods import EXECUTE_BATCH
from protocol.peer import RequestReceived
from protocol.types import ExecuteResult, NoAction, Observability, Resume

ENVELOPE_BYTES: Final = 128
"""More than an answer needs besides its results and its id."""


class _Call(Struct):
    """`BatchCall`, with what only few components look at left raw."""

    input: Raw
    attempt: Annotated[int, Meta(ge=1)] | None = 1
    observability: Raw = Raw(b"null")
    resumes: list[Resume] | None = None


class _Execution(Struct):
    """`ExecuteParams`, likewise."""

    component: str
    input: Raw
    attempt: Annotated[int, Meta(ge=1)] | None = 1
    observability: Raw = Raw(b"null")
    resumes: list[Resume] | None = None


class _Batch(Struct):
    """`ExecuteBatchParams`, likewise."""

    component: str
    calls: list[_Call]


_decode_execution: Final = msgspec.json.Decoder(_Execution).decode
_decode_batch: Final = msgspec.json.Decoder(_Batch).decode
_decode_observability: Final = msgspec.json.Decoder(Observability | None).decode


class _Prepared(Struct, frozen=True):
    """A component with all that an execution needs."""

    call: Call
    decode: Decode
    takes_input: bool
    takes_context: bool
    is_batched: bool
    resume: Any

    def execute(self, value: Any, context: StepflowContext | None) -> Awaitable[Any]:
        """Executes it for one item; if it takes batches, as a batch of one."""
        return call_alone(self.call, value, context) if self.is_batched else self.call(value, context)


class Executions:
    """The executions of one connection.

    Args:
        find: The component of a path.
        backends: Where components run.
        link: Takes the answers, and what components ask of the runtime.
    """

    def __init__(self, find: Callable[[str], Component], backends: Backends, link: Link) -> None:
        self._find = find
        self._backends = backends
        self._link = link
        self._caller = LinkCaller(link)
        self._prepared: dict[str, _Prepared] = {}

    async def execute(self, request: RequestReceived) -> None:
        """Execute what was asked, one or a batch, and answer, whatever happens."""
        if request.method == EXECUTE_BATCH.name:
            await self._execute_batch(request)
            return
        try:
            params = _decode_execution(request.params)
            component = self._prepared.get(params.component) or self._prepare(params.component)
            value = component.decode(params.input) if component.takes_input else None
            context = self._make_context(params, component.resume) if component.takes_context else None
        except RpcError as error:
            self._link.respond_error(request, error)
            return
        except Exception as error:
            self._link.respond_error(request, _describe_bad_params(request, error))
            return
        try:
            output = encode(await component.execute(value, context))
        except BaseException as error:
            end = _explain(error)
            if isinstance(end, RpcError):
                self._link.respond_error(request, end)
            else:
                self._link.respond(request, end)
        else:
            self._link.respond(request, b'{"output":%b}' % output)

    def answer_cancelled(self, request: RequestReceived) -> None:
        """Answer what was cancelled."""
        message = "The execution was cancelled, as the runtime asked."
        self._link.respond_error(request, RpcError(ErrorCode.REQUEST_CANCELLED, message))

    async def _execute_batch(self, request: RequestReceived) -> None:
        try:
            params = _decode_batch(request.params)
            component = self._prepared.get(params.component) or self._prepare(params.component)
            if not component.is_batched:
                message = f"{params.component} takes no batches, as its `ComponentInfo` says; send components/execute."
                raise RpcError(ErrorCode.INVALID_PARAMS, message)
            contexts = (
                [self._make_context(call, component.resume) for call in params.calls] if component.takes_context else []
            )
        except RpcError as error:
            self._link.respond_error(request, error)
            return
        except Exception as error:
            message = f"The params of components/execute_batch are not as the protocol has them: {error}"
            self._link.respond_error(request, RpcError(ErrorCode.INVALID_PARAMS, message))
            return
        results = await _execute_calls(component, params, contexts)
        limit = self._link.peer_limits.max_frame_bytes - ENVELOPE_BYTES - len(request.id)
        self._link.respond(request, b'{"results":[%b]}' % b",".join(_fit(results, limit)))

    def _prepare(self, path: str) -> _Prepared:
        component = self._find(path)
        signature = component.signature
        prepared = self._prepared[path] = _Prepared(
            call=self._backends.prepare(signature, component.timeout_s),
            decode=make_decoder(signature.input_type),
            takes_input=signature.takes_input,
            takes_context=signature.takes_context,
            is_batched=component.is_batched,
            resume=component.resume,
        )
        return prepared

    def _make_context(self, params: _Execution | _Call, schema: Any) -> StepflowContext:
        resumes = Resumes(params.resumes or (), schema)
        return StepflowContext(self._caller, _decode_observability(params.observability), params.attempt or 1, resumes)


async def _execute_calls(component: _Prepared, params: _Batch, contexts: list[StepflowContext]) -> list[bytes]:
    """Executes a batch; returns a result for each call. The component does not see inputs that do not fit."""
    results = [b""] * len(params.calls)
    values: list[Any] = []
    fitting: list[int] = []
    for index, call in enumerate(params.calls):
        try:
            values.append(component.decode(call.input))
        except Exception as error:
            results[index] = _encode_error_entry(_describe_bad_input(params.component, error))
        else:
            fitting.append(index)
    if not values:
        return results
    try:
        outputs = await call_together(component.call, values, [contexts[index] for index in fitting if contexts])
    except BaseException as error:
        entry = _encode_end(error)
        for index in fitting:
            results[index] = entry
    else:
        for index, output in zip(fitting, outputs, strict=True):
            results[index] = _encode_entry(output)
    return results


def _encode_entry(output: Any) -> bytes:
    if isinstance(output, BaseException):
        return _encode_end(output)
    try:
        return b'{"output":%b}' % encode(output)
    except Exception as error:
        return _encode_end(error)


def _encode_end(error: BaseException) -> bytes:
    end = _explain(error)
    return _encode_error_entry(end) if isinstance(end, RpcError) else encode(end)


def _encode_error_entry(error: RpcError) -> bytes:
    return b'{"error":%b}' % encode_error(error)


_TOO_LONG: Final = _encode_error_entry(
    RpcError(
        ErrorCode.LIMIT_EXCEEDED,
        "The output does not fit into one frame with those before it; store large content as a blob, or let the "
        "component take smaller batches.",
        limit="maxFrameBytes",
    )
)


def _fit(results: list[bytes], limit: int) -> list[bytes]:
    """Results that have room in one frame; those for which there is none say so."""
    if sum(map(len, results)) + len(results) <= limit:
        return results
    room = limit - len(results) * (len(_TOO_LONG) + 1)
    fitting: list[bytes] = []
    for result in results:
        more = len(result) - len(_TOO_LONG)
        if more > room:
            result = _TOO_LONG
        else:
            room -= max(more, 0)
        fitting.append(result)
    return fitting


def _explain(error: BaseException) -> ExecuteResult | RpcError:
    """What it means that a component ended with this; cancellation goes its way."""
    leaves = list(iterate_leaves(error))
    if any(isinstance(leaf, trio.Cancelled | KeyboardInterrupt) for leaf in leaves):
        raise error
    for leaf in leaves:
        if isinstance(leaf, Suspended):
            return ExecuteResult(suspend=leaf.suspend)
        if isinstance(leaf, NoActionTaken):
            return ExecuteResult(no_action=NoAction(leaf.reason))
    return describe_failure(error)


def _describe_bad_input(component: str, error: Exception) -> RpcError:
    """Whether the input does not fit, or the type's own code failed."""
    misfit = describe_misfit(error)
    return describe_failure(error) if misfit is None else describe_unfit(component, misfit)


def _describe_bad_params(request: RequestReceived, error: Exception) -> RpcError:
    """Whether the envelope of the execution is wrong, or the input in it."""
    misfit = describe_misfit(error)
    if misfit is None:
        return describe_failure(error)
    try:
        component = _decode_execution(request.params).component
        _decode_observability(_decode_execution(request.params).observability)
    except UNREADABLE:
        message = f"The params of components/execute are not as the protocol has them: {misfit}"
        return RpcError(ErrorCode.INVALID_PARAMS, message, path=misfit.path)
    return describe_unfit(component, misfit)
