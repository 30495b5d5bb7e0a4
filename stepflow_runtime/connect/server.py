"""One initialized component server: the requests that it is sent and the answers that it gives.

It counts its load and knows nothing of queues: `pool` decides what it is sent. All is synchronous; the link does the
waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import UNSET, Raw

from protocol.errors import EXECUTE_ERRORS, ItemErrorCode, RpcError
from protocol.link import Link
from protocol.messages import RequestId
from protocol.methods import EXECUTE
from protocol.peer import Answer
from protocol.types import ExecuteParams, ExecuteResult, Observability
from stepflow_runtime.connect.answers import AnswerQueue
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.model.outcome import Failure, Outcome
from stepflow_runtime.model.secret import SecretMissing, fill_in
from stepflow_runtime.ports import Execution, SecretSource

NULL: Final = b"null"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ExecuteResult).decode


class Server:
    """A connection to a component server, with its slots.

    Args:
        connection: Where what is in flight is registered.
        answers: For executions that cannot be sent.
        slots: How many executions it takes at once; those that wait in a request to the runtime don't count.
        secrets: Gives the values of secrets that it is sent, and keeps them out of the errors that it answers.

    Attributes:
        load: Executions in flight less those that wait in a request. Cancelled ones count until they are answered.
        alone: The execution that `pool` sent alone, until it is answered.
        alone_until: When `pool` stops keeping others away for its sake.
    """

    def __init__(
        self,
        connection: Connection,
        answers: AnswerQueue,
        *,
        slots: int,
        secrets: SecretSource | None = None,
    ) -> None:
        self.connection = connection
        connection.server = self
        self.link: Link = connection.link
        self.slots = slots
        self.load = 0
        self.alone: Execution | None = None
        self.alone_until = 0.0
        self._answers = answers
        self._secrets = secrets

    def send(self, execution: Execution, path: str) -> bool:
        """Queues a request on the link; `link.flush` sends it.

        Returns:
            Whether it was sent; otherwise it is answered: with `LIMIT_EXCEEDED` if it does not fit a frame of the
            peer, with `RESOURCE_UNAVAILABLE` if it needs a secret that has no value.

        Raises:
            LinkClosed: The connection has ended; nothing happened.
        """
        input = execution.input
        if execution.secrets and self._secrets is not None:
            try:
                input = fill_in(input, execution.secrets, self._secrets.find)
            except SecretMissing as missing:
                self._answers.put(execution, Failure(ItemErrorCode.RESOURCE_UNAVAILABLE, str(missing)))
                return False
        params = _encode(
            ExecuteParams(
                path,
                Raw(input),
                execution.attempt,
                Observability(  # in the order of its fields: keywords take longer
                    None,
                    None,
                    execution.run_id,
                    execution.flow_id,
                    execution.step_id,
                    execution.item_index,
                    execution.execution_id,
                ),
            )
        )
        try:
            request_id = self.link.post(EXECUTE, params, execution)
        except RpcError as error:
            self._answers.put(execution, read_error(error))
            return False
        execution.place = InFlight(self, request_id)
        self.connection.executions[execution.execution_id] = execution
        self.load += 1
        if execution.timeout_ms is not None:
            self._answers.sink.dispatched(execution)
        return True

    def receive(self, answers: Sequence[Answer]) -> None:
        """Reports the answers of one chunk to the engine and frees their slots; the caller ends the turn."""
        if answers[0].lost:
            return  # they all are; `end` reports them, with the cause
        sink = self._answers.sink
        executions = self.connection.executions
        for answer in answers:
            execution: Execution = answer.token
            if execution is self.alone:
                self.alone = None
            if not execution.waiting:
                self.load -= 1
            execution.place = None
            if executions.pop(execution.execution_id, None) is None:
                continue  # it was cancelled
            error = answer.error
            if error is None:
                sink.answered(execution, read_result(answer.result or NULL, execution.component))
            else:
                sink.answered(execution, self._scrub(read_error(error)))

    def end(self, failure: Failure) -> None:
        """Reports all that is in flight as failed: the connection ended."""
        executions = list(self.connection.executions.values())
        self.connection.executions.clear()
        sink = self._answers.sink
        for execution in executions:
            execution.place = None
            sink.answered(execution, failure)
        if executions:
            sink.end_turn()

    def _scrub(self, failure: Failure) -> Failure:
        """The failure without secrets: a component that quotes its input must not have them stored."""
        if self._secrets is None:
            return failure
        scrub, scrub_json = self._secrets.scrub, self._secrets.scrub_json
        data = failure.data if failure.data is UNSET else scrub_json(failure.data)
        return Failure(failure.code, scrub(failure.message), data)


class InFlight:
    """The place of an execution that a server was sent."""

    __slots__ = ("_request_id", "_server")

    def __init__(self, server: Server, request_id: RequestId) -> None:
        self._server = server
        self._request_id = request_id

    def cancel(self, execution: Execution) -> None:
        """Until the server answers, it takes a slot as before: it may be working still, or waiting."""
        self._server.connection.executions.pop(execution.execution_id, None)
        self._server.link.cancel(self._request_id)

    def interrupt(self, execution: Execution) -> None:
        self._server.link.cancel(self._request_id)

    def park(self, execution: Execution) -> None:
        self._server.load -= 1

    def unpark(self, execution: Execution) -> None:
        self._server.load += 1


def read_result(result: bytes, component: str) -> Outcome:
    """Reads the result of `components/execute`: the output's bytes as they stand, or why it is none."""
    try:
        decoded = _decode(result)
    except msgspec.MsgspecError as error:
        return Failure(
            ItemErrorCode.COMPONENT_FAILED,
            f'The answer of "{component}" cannot be read ({error}); a component server answers {{"output": …}}.',
        )
    if decoded.output is not UNSET:
        return bytes(decoded.output)  # a copy: a Raw keeps all that was read with it alive
    if decoded.no_action is not UNSET:
        return NULL
    return Failure(
        ItemErrorCode.COMPONENT_FAILED,
        f'The answer of "{component}" has no "output"; a component server answers {{"output": …}}, also for null.',
    )


def read_error(error: RpcError) -> Failure:
    """What an error answer to `components/execute` means for the step (PROTOCOL §6)."""
    code = EXECUTE_ERRORS.get(error.code, ItemErrorCode.COMPONENT_FAILED)
    data = {key: value for key, value in error.data.items() if key != "type"}  # the code says that
    return Failure(code, error.message, data or UNSET)
