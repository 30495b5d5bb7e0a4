"""What a component server answered, as the outcomes of executions (PROTOCOL §2, §6)."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct

from protocol.errors import EXECUTE_ERRORS, ItemErrorCode, RemoteProtocolError, RpcError
from protocol.messages import decode_error
from protocol.types import BatchEntry, ExecuteBatchResult, ExecuteResult, Suspend
from stepflow_runtime.model.outcome import NULL, Failure, NoAction, Reply, Suspension
from stepflow_runtime.ports import SecretSource


class _RawResults(Struct):
    """`ExecuteBatchResult`, with its entries left raw."""

    results: list[Raw]


_decode_result: Final = msgspec.json.Decoder(ExecuteResult).decode
_decode_results: Final = msgspec.json.Decoder(ExecuteBatchResult).decode
_decode_raw_results: Final = msgspec.json.Decoder(_RawResults).decode
_decode_entry: Final = msgspec.json.Decoder(BatchEntry).decode


def read_result(result: bytes, component: str) -> Reply:
    """Reads the result of `components/execute`: the output's bytes as they stand, or why it is none."""
    try:
        return _read(_decode_result(result), component)
    except msgspec.MsgspecError as error:
        return _describe_unreadable(error, component)


def read_results(result: bytes, component: str, count: int) -> list[Reply]:
    """Reads the result of `components/execute_batch`.

    Args:
        result: Raw JSON.
        component: For messages.
        count: How many calls it answers.

    Returns:
        An outcome for each call, in their order.

    Raises:
        RemoteProtocolError: There is not one entry for each call, so that nobody knows which is whose.
    """
    try:
        replies = [_read_entry(entry, component) for entry in _decode_results(result).results]
    except msgspec.MsgspecError:  # one that cannot be read is no fault of the others
        replies = _read_each(result, component)
    if len(replies) != count:
        raise RemoteProtocolError(
            f'"{component}" answered a batch of {count} calls with {len(replies)} results; each call has one'
        )
    return replies


def read_error(error: RpcError) -> Failure:
    """What an error answer means for the step (PROTOCOL §6)."""
    code = EXECUTE_ERRORS.get(error.code, ItemErrorCode.COMPONENT_FAILED)
    data = {key: value for key, value in error.data.items() if key != "type"}  # the code says that
    return Failure(code, error.message, data or UNSET)


def read_batch_error(error: RpcError) -> Failure:
    """The same for one of several that share an answer: what had no room in it goes again, at last alone."""
    failure = read_error(error)
    if failure.code == ItemErrorCode.LIMIT_EXCEEDED:
        return Failure(ItemErrorCode.UNREACHABLE, failure.message, failure.data)
    return failure


def scrub(failure: Failure, secrets: SecretSource | None) -> Failure:
    """The failure without secrets: who quotes what it was sent must not have them stored."""
    if secrets is None:
        return failure
    data = failure.data if failure.data is UNSET else secrets.scrub_json(failure.data)
    return Failure(failure.code, secrets.scrub(failure.message), data)


def _read_each(result: bytes, component: str) -> list[Reply]:
    try:
        entries = _decode_raw_results(result).results
    except msgspec.MsgspecError as error:
        raise RemoteProtocolError(
            f'the answer of "{component}" to a batch cannot be read ({error}); it is {{"results": […]}}'
        ) from None
    replies: list[Reply] = []
    for entry in entries:
        try:
            replies.append(_read_entry(_decode_entry(entry), component))
        except msgspec.MsgspecError as error:
            replies.append(_describe_unreadable(error, component))
    return replies


def _read_entry(entry: BatchEntry, component: str) -> Reply:
    return _read(entry, component) if entry.error is UNSET else read_batch_error(decode_error(entry.error))


def _read(result: ExecuteResult, component: str) -> Reply:
    if result.output is not UNSET:
        return bytes(result.output)  # a copy: a Raw keeps all that was read with it alive
    if result.no_action is not UNSET:
        return NoAction(result.no_action.reason)
    if result.suspend is not UNSET:
        return _read_suspension(result.suspend)
    return Failure(
        ItemErrorCode.COMPONENT_FAILED,
        f'The answer of "{component}" has no "output"; a component server answers {{"output": …}}, also for null.',
    )


def _read_suspension(suspend: Suspend) -> Suspension:
    return Suspension(
        label=suspend.label,
        payload=NULL if suspend.payload is UNSET else bytes(suspend.payload),
        schema=NULL if suspend.resume_schema is UNSET else bytes(suspend.resume_schema),
        token=suspend.token,
        timeout_ms=suspend.timeout_ms,
    )


def _describe_unreadable(error: msgspec.MsgspecError, component: str) -> Failure:
    return Failure(
        ItemErrorCode.COMPONENT_FAILED,
        f'The answer of "{component}" cannot be read ({error}); a component server answers {{"output": …}}.',
    )
