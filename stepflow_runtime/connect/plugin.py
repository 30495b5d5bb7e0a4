"""What the router needs of a plugin, and what an execution's `place` can do.

Implemented by `pool.Pool` users (`stdio.StdioPlugin`, `tcp.TcpPlugin`, `listener.AcceptPlugin`), `mock.MockPlugin` and
`builtins.BuiltinPlugin`. A plugin reports answers through the `AnswerQueue` that it was made with, and never within
`call`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import trio
from msgspec import Struct

from protocol.observing import ServerInfo
from protocol.types import ComponentInfo
from stepflow_runtime.connect.durations import Durations
from stepflow_runtime.ports import Execution


class Place(Protocol):
    """Where an execution is between `call` and its answer: in a queue, on a server, in a task."""

    def cancel(self, execution: Execution) -> None:
        """Takes it out, or asks for its end; it is not answered any more."""
        ...

    def interrupt(self, execution: Execution) -> None:
        """Takes it out, or asks for its end; it is answered all the same."""
        ...

    def park(self, execution: Execution) -> None:
        """It waits in a request to the runtime: its slot is free."""
        ...

    def unpark(self, execution: Execution) -> None:
        """The wait is over; it takes its slot again, over the limit if need be."""
        ...


class Traffic(Struct, frozen=True):
    """What goes through the servers of a plugin.

    Args:
        plugin: Its name.
        queued: Executions that wait for a server, or for a slot there.
        answered: Requests that its servers have answered; a batch is one.
        lost: Connections of servers that were ready, and ended.
        durations: How long its servers took.
    """

    plugin: str
    queued: int
    answered: int
    lost: int
    durations: Durations


class Plugin(Protocol):
    """Executes components, in servers or by itself."""

    @property
    def name(self) -> str: ...

    def call(self, execution: Execution, path: str) -> None:
        """Takes an execution and sets its `place`. Never waits and never answers within this call.

        Args:
            path: The component as the plugin knows it, with a leading `/`.
        """
        ...

    def flush(self) -> None:
        """Sends what is ready: the end of a turn. Costs nothing if nothing is."""
        ...

    def hold(self) -> None:
        """Sends no execution any more, for the runtime is about to stop; what is in flight may end."""
        ...

    @property
    def load(self) -> int:
        """How many executions are at work: those in flight that somebody wants, and that do not wait in a request."""
        ...

    def traffic(self) -> Traffic | None:
        """`None` for a plugin that has no servers."""
        ...

    def servers(self) -> Sequence[ServerInfo]:
        """Its component servers as they are now; none if it does all by itself."""
        ...

    async def components(self) -> Sequence[ComponentInfo]:
        """What it offers, as last listed by its servers; waits until one of them has.

        Raises:
            RpcError: `RESOURCE_UNAVAILABLE` if no server answers in time.
        """
        ...

    async def infer_schema(self, path: str, input_schema: Any) -> Any:
        """The schema of what a component gives for such an input; `UNSET` if it is not known.

        Raises:
            RpcError: Its server could not tell.
        """
        ...

    async def run(self, *, task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED) -> None:
        """Keeps its servers running until it is cancelled; started before any server is ready."""
        ...
