"""Where an execution is that a server was sent: in a request of its own, or in one with others.

Until the server answers, a request takes its slot, also if it was cancelled: the component may be working still.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from protocol.link import Link
from protocol.messages import RequestId
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.model.ids import ExecutionId
from stepflow_runtime.ports import Execution


class Host(Protocol):
    """The server where an execution is."""

    connection: Connection
    link: Link
    load: int


class InFlight:
    """The place of an execution that was sent by itself."""

    __slots__ = ("_request_id", "_server")

    def __init__(self, server: Host, request_id: RequestId) -> None:
        self._server = server
        self._request_id = request_id

    def cancel(self, execution: Execution) -> None:
        self._server.connection.executions.pop(execution.execution_id, None)
        self._server.link.cancel(self._request_id)

    def interrupt(self, execution: Execution) -> None:
        self._server.link.cancel(self._request_id)

    def park(self, execution: Execution) -> None:
        self._server.load -= 1

    def unpark(self, execution: Execution) -> None:
        self._server.load += 1


class BatchInFlight:
    """The place of executions that were sent together. They share one slot, and one fate if the connection ends.

    Args:
        server: Where they are.
        executions: In the order of the request.

    Attributes:
        request_id: Set when the request is queued.
        root_run_id: The tree of runs that they belong to.
        parked: How many wait in requests to the runtime; while one does, the batch holds no slot.
    """

    __slots__ = ("_server", "_unwanted", "executions", "parked", "request_id", "root_run_id")

    request_id: RequestId

    def __init__(self, server: Host, executions: Sequence[Execution]) -> None:
        self.executions = executions
        self.root_run_id = executions[0].root_run_id
        self.parked = 0
        self._server = server
        self._unwanted: set[ExecutionId] = set()

    def cancel(self, execution: Execution) -> None:
        """The batch goes on without it, and is cancelled with the last one."""
        self._server.connection.executions.pop(execution.execution_id, None)
        self.interrupt(execution)

    def interrupt(self, execution: Execution) -> None:
        """The batch is cancelled when nobody wants it to go on."""
        if execution.execution_id not in self._unwanted:
            self._unwanted.add(execution.execution_id)
            if len(self._unwanted) == len(self.executions):
                self._server.link.cancel(self.request_id)

    def park(self, execution: Execution) -> None:
        self.parked += 1
        if self.parked == 1:
            self._server.load -= 1

    def unpark(self, execution: Execution) -> None:
        self.parked -= 1
        if not self.parked:
            self._server.load += 1
