"""One initialized component server: the requests that it is sent and the answers that it gives.

It counts its load and knows nothing of queues: `pool` decides what it is sent. All is synchronous; the link does the
waiting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import trio

from protocol.errors import ItemErrorCode, RemoteProtocolError, RpcError
from protocol.link import Link
from protocol.methods import EXECUTE, EXECUTE_BATCH
from protocol.peer import Answer
from protocol.types import BatchInfo
from stepflow_runtime.connect.answers import AnswerQueue
from stepflow_runtime.connect.calls import CallWriter, write_batch
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.connect.durations import Durations
from stepflow_runtime.connect.in_flight import BatchInFlight, InFlight
from stepflow_runtime.connect.outcomes import read_batch_error, read_error, read_result, read_results, scrub
from stepflow_runtime.model.outcome import NULL, Displaced, Failure, Reply
from stepflow_runtime.model.secret import SecretMissing, fill_in
from stepflow_runtime.ports import Answered, Execution, SecretSource

ENVELOPE_BYTES: Final = 256
"""More than a batch needs besides its calls and the component's path."""


class Server:
    """A connection to a component server, with its slots.

    Args:
        connection: Where what is in flight is registered.
        answers: For executions that cannot be sent.
        slots: How many executions it takes at once; those that wait in a request to the runtime don't count.
        durations: Is told how long executions took.
        batches: The components that it executes for many items at once, by path.
        secrets: Gives the values of secrets that it is sent, and keeps them out of the errors that it answers.

    Attributes:
        load: Requests in flight less those that wait in a request. Cancelled ones count until they are answered.
        alone: The execution that `pool` sent alone, until it is answered.
        alone_until: When `pool` stops keeping others away for its sake.
    """

    def __init__(
        self,
        connection: Connection,
        answers: AnswerQueue,
        *,
        slots: int,
        durations: Durations,
        batches: Mapping[str, BatchInfo] | None = None,
        secrets: SecretSource | None = None,
    ) -> None:
        self.connection = connection
        self._executions = connection.executions
        connection.server = self
        self.link: Link = connection.link
        self.slots = slots
        self.batches = batches or {}
        self.load = 0
        self.alone: Execution | None = None
        self.alone_until = 0.0
        self._answers = answers
        self._secrets = secrets
        self._calls = CallWriter()
        self._durations = durations
        self._sent_at: float | None = None
        """When the first of those was queued that the next `flush` sends."""

    def flush(self) -> None:
        """Sends what is queued."""
        self._sent_at = None
        self.link.flush()

    def send(self, execution: Execution, path: str) -> bool:
        """Queues a request on the link; `flush` sends it.

        Returns:
            Whether it was sent; otherwise it is answered: with `LIMIT_EXCEEDED` if it does not fit a frame of the
            peer, with `RESOURCE_UNAVAILABLE` if it needs a secret that has no value.

        Raises:
            LinkClosed: The connection has ended; nothing happened.
        """
        input = self._read_input(execution) if execution.secrets else execution.input
        if input is None:
            return False
        if execution.resumes and not self._can_resume(execution):
            return False
        params = self._calls.write_execute(execution, path, input)
        try:
            request_id = self.link.post(EXECUTE, params, execution)
        except RpcError as error:
            self._answers.put(execution, read_error(error))
            return False
        self._note(execution, InFlight(self, request_id))
        self.load += 1
        return True

    def send_batch(self, executions: Sequence[Execution], path: str) -> int:
        """Queues one request for as many as this server takes at once; one alone is sent by itself.

        Args:
            executions: Of one step of one run.
            path: The component.

        Returns:
            How many of them, from the first, were sent or, as with `send`, answered.

        Raises:
            LinkClosed: The connection has ended; nothing was sent.
        """
        info = self.batches.get(path)
        room = self.link.peer_limits.max_frame_bytes - ENVELOPE_BYTES - 6 * len(path)
        taken: list[Execution] = []
        calls: list[bytes] = []
        count = 0
        write_call = self._calls.write_call
        for execution in executions[: 1 if info is None else info.max_size]:
            input = self._read_input(execution) if execution.secrets else execution.input
            if input is not None:
                call = write_call(execution, input)
                room -= len(call) + 1
                if room < 0 and taken:
                    break
                taken.append(execution)
                calls.append(call)
            count += 1
        if len(taken) == 1:
            self.send(taken[0], path)
        elif taken:
            batch = BatchInFlight(self, taken)
            batch.request_id = self.link.post(EXECUTE_BATCH, write_batch(path, calls), batch)
            for execution in taken:
                self._note(execution, batch)
            self.load += 1
        return count

    def receive(self, answers: Sequence[Answer]) -> None:
        """Reports the answers of one chunk to the engine and frees their slots; the caller ends the turn."""
        executions = self._executions
        ended: list[Answered] = []
        for answer in answers:
            if type(answer.token) is BatchInFlight:
                ended += self._end_batch(answer.token, answer)
                continue
            execution: Execution = answer.token
            if execution is self.alone:
                self.alone = None
            if not execution.waiting:
                self.load -= 1
            execution.place = None
            if executions.pop(execution.execution_id, None) is None:
                continue  # it was cancelled
            if answer.error is None:
                ended.append((execution, read_result(answer.result or NULL, execution.component)))
            else:
                ended.append((execution, scrub(read_error(answer.error), self._secrets)))
        self._durations.note_answers(ended, trio.current_time())
        self._answers.sink.answered(ended)

    def _end_batch(self, batch: BatchInFlight, answer: Answer) -> Iterator[Answered]:
        outcomes = self._read_outcomes(batch, answer)
        if outcomes is None:
            return
        if not batch.parked:
            self.load -= 1
        executions = self._executions
        for execution, outcome in zip(batch.executions, outcomes, strict=True):
            execution.place = None
            if executions.pop(execution.execution_id, None) is not None:
                yield execution, outcome if type(outcome) is not Failure else scrub(outcome, self._secrets)

    def _read_outcomes(self, batch: BatchInFlight, answer: Answer) -> Sequence[Reply] | None:
        """What became of each; `None` if that cannot be known: then the connection ends, and they with it."""
        count = len(batch.executions)
        if answer.error is not None:
            return [read_batch_error(answer.error)] * count
        try:
            return read_results(answer.result or NULL, batch.executions[0].component, count)
        except RemoteProtocolError as fault:
            self.link.give_up(fault)
            return None

    def end(self, outcome: Failure | Displaced) -> None:
        """Reports what became of all that is in flight: the connection ended."""
        if isinstance(outcome, Failure):
            outcome = scrub(outcome, self._secrets)
        executions = list(self.connection.executions.values())
        self.connection.executions.clear()
        for execution in executions:
            execution.place = None
        if executions:
            sink = self._answers.sink
            sink.answered([(execution, outcome) for execution in executions])
            sink.end_turn()

    def _read_input(self, execution: Execution) -> bytes | None:
        """The input as it is sent, with its secrets; `None` if one has no value: then the execution is answered."""
        if self._secrets is None:
            return execution.input
        try:
            return fill_in(execution.input, execution.secrets, self._secrets.find)
        except SecretMissing as missing:
            self._answers.put(execution, Failure(ItemErrorCode.RESOURCE_UNAVAILABLE, str(missing)))
            return None

    def _can_resume(self, execution: Execution) -> bool:
        """Whether this server can be told what a step was resumed with; otherwise the execution is answered."""
        if "resume" in self.link.peer_capabilities:
            return True
        message = (
            f'The server of "{execution.component}" suspended a step and cannot have it resumed: it must declare the '
            'capability "resume" when it is initialized.'
        )
        self._answers.put(execution, Failure(ItemErrorCode.COMPONENT_FAILED, message))
        return False

    def _note(self, execution: Execution, place: InFlight | BatchInFlight) -> None:
        """It was sent."""
        if self._sent_at is None:
            self._sent_at = trio.current_time()
        execution.place, execution.sent_at = place, self._sent_at
        self._executions[execution.execution_id] = execution
        if execution.timeout_ms is not None:
            self._answers.sink.dispatched(execution)
