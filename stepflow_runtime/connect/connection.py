"""Who is at the other end of a link, and which execution a callback belongs to (PROTOCOL §2 "Executions").

A `Connection` is the `context` of every handler. It knows no wire: the link that it belongs to is set by who opens it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from protocol.errors import ErrorCode, RpcError
from protocol.link import Link
from protocol.peer import Answer
from protocol.types import Observability
from stepflow_runtime.connect.tokens import Grant, Role
from stepflow_runtime.model.ids import ExecutionId
from stepflow_runtime.model.trace import SpanContext
from stepflow_runtime.ports import Execution


class Loaded(Protocol):
    """Who counts the executions that take slots."""

    load: int


class Connection:
    """One peer of the runtime.

    Args:
        name: For logs and messages, e.g. `python[0]` or `127.0.0.1:50312`.
        role: `client` until the peer introduces itself as a server, or shows a token for something else.

    Attributes:
        grant: What its token is for; `None` if it was asked for none.
        plugin: The plugin that this is a server of; `None` for a client.
        client: What a client calls itself. It is told, and opens nothing.
        trace: Where the peer stands in a trace, if its way here says so.
        link: Set when the link is made, before its first message.
        executions: What is in flight on it, by execution id.
        server: Whose load it is when a request on it waits; `None` until the server is ready, and for a client.
        receive: What takes the answers to executions; set before the first is sent.
    """

    __slots__ = ("client", "executions", "grant", "link", "name", "plugin", "receive", "role", "server", "trace")

    link: Link
    receive: Callable[[list[Answer]], None]

    def __init__(self, name: str, role: Role = "client", plugin: str | None = None) -> None:
        self.name = name
        self.role: Role = role
        self.grant: Grant | None = None
        self.plugin = plugin
        self.client: str | None = None
        self.trace: SpanContext | None = None
        self.server: Loaded | None = None
        self.executions: dict[ExecutionId, Execution] = {}

    def __repr__(self) -> str:
        return f"<Connection {self.name} ({self.role}), {len(self.executions)} executions>"


class Connections:
    """The connected component servers, through which a callback finds the execution that made it."""

    def __init__(self) -> None:
        self._servers: set[Connection] = set()

    def add(self, connection: Connection) -> None:
        self._servers.add(connection)

    def remove(self, connection: Connection) -> None:
        self._servers.discard(connection)

    def find_execution(self, connection: Connection, observability: Observability | None) -> Execution | None:
        """The execution on whose behalf a request came.

        Args:
            connection: The one that the request came on.
            observability: As the request echoes it.

        Returns:
            The execution with this `execution_id`, on any connection; without one, the only execution of this
            connection that fits `run_id`, `step_id` and `item_index`; without these too, its only execution. Else
            `None`: the request belongs to no execution.

        Raises:
            RpcError: `NOT_CURRENT` if there is an `execution_id` and its execution has ended.
        """
        if observability is not None and observability.execution_id is not None:
            return self._by_id(ExecutionId(observability.execution_id), connection)
        here = connection.executions.values()
        if observability is None or (observability.run_id is None and observability.step_id is None):
            return _only(list(here)) if len(here) == 1 else None
        if observability.run_id is None or observability.step_id is None:
            return None
        return _only(
            [
                execution
                for execution in here
                if execution.run_id == observability.run_id
                and execution.step_id == observability.step_id
                and observability.item_index in (None, execution.item_index)
            ]
        )

    def _by_id(self, execution_id: ExecutionId, connection: Connection) -> Execution:
        found = connection.executions.get(execution_id)
        if found is not None:
            return found
        for server in self._servers:
            found = server.executions.get(execution_id)
            if found is not None:
                return found
        raise RpcError(
            ErrorCode.NOT_CURRENT,
            "This execution is no longer current: it has ended, was cancelled, or another attempt took its place; "
            "stop this work.",
            executionId=execution_id,
        )


def _only(executions: list[Execution]) -> Execution | None:
    return executions[0] if len(executions) == 1 else None
