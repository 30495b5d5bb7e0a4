"""Answers that arise inside the runtime, and how they reach the engine: in a turn of their own.

What a server answers is reported as it is read (`server`). What is known at once (a mock's result, an unknown route, a
server that did not come in time) must not be reported while the engine is still calling, so it is queued here and
delivered by one task, all that is there in one turn. Nothing per answer touches trio.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NoReturn

import trio

from protocol.errors import ItemErrorCode
from stepflow_runtime.model.outcome import Answer, Failure
from stepflow_runtime.ports import Answered, Execution, ExecutionSink

INTERRUPTED: Final = Failure(ItemErrorCode.CANCELLED, "cancelled before it was done")
"""The answer of an execution that was interrupted and has no other."""


class AnswerQueue:
    """The way to the engine that all plugins share; it is an execution's place from `put` to its delivery."""

    def __init__(self) -> None:
        self._sink: ExecutionSink | None = None
        self._answers: deque[Answered] = deque()
        self._waker = trio.Event()

    def __len__(self) -> int:
        """How many are not delivered yet."""
        return len(self._answers)

    def report_to(self, sink: ExecutionSink) -> None:
        """Names the engine; called once, before anything is called."""
        self._sink = sink

    @property
    def sink(self) -> ExecutionSink:
        """Where answers go."""
        assert self._sink is not None, "report_to() was not called"
        return self._sink

    def put(self, execution: Execution, outcome: Answer) -> None:
        """Queues an answer; delivered soon, never within this call."""
        execution.place = self
        if not self._answers:
            self._waker.set()
        self._answers.append((execution, outcome))

    def cancel(self, execution: Execution) -> None:
        execution.place = None

    def interrupt(self, execution: Execution) -> None:
        """Its answer is on its way."""

    def park(self, execution: Execution) -> None:
        """An answered execution holds no slot."""

    def unpark(self, execution: Execution) -> None:
        """See `park`."""

    async def run(self) -> NoReturn:
        """Delivers until it is cancelled."""
        while True:
            await self._waker.wait()
            self._waker = trio.Event()
            self.deliver()

    def deliver(self) -> None:
        """Reports all that is queued, as one turn of the engine."""
        queued, self._answers = self._answers, deque()
        answers = [answer for answer in queued if answer[0].place is self]
        for execution, _ in answers:
            execution.place = None
        self.sink.answered(answers)
        self.sink.end_turn()
