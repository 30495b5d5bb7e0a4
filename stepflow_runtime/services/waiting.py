"""Requests that wait: they take no server slot, and count in a bound of their own.

What an execution waits for may be executed on the same connection, and wait in turn. So one wait of each execution is
never refused, however many there are: else those that wait would hold the places that end their waits.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager

from protocol.handling import NOTHING, parked
from stepflow_runtime.connect.connection import Connection, Loaded
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.ports import Execution


class Waiting:
    """Tells the callers of components who only waits."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def parked(self, execution: Execution | None) -> AbstractContextManager[None]:
        """The request waits; with it the execution that made it, if that is known.

        Raises:
            RpcError: `THROTTLED`, when it is entered, if too many requests of the connection wait, and the execution in
                another one.
        """
        return parked() if execution is None else self._park(execution)

    def unattributed(
        self, connection: Connection, execution: Execution | None, waits: bool
    ) -> AbstractContextManager[None]:
        """Frees a server's slot while it waits and does not say for which execution: one of them does."""
        server = connection.server
        return NOTHING if not waits or execution is not None or server is None else self._free_slot(server)

    @contextmanager
    def _park(self, execution: Execution) -> Generator[None]:
        with parked(over_limit=not execution.waiting):
            self._executor.caller.park(execution)
            self._executor.end_turn()
            try:
                yield
            finally:
                self._executor.caller.unpark(execution)

    @contextmanager
    def _free_slot(self, server: Loaded) -> Generator[None]:
        with parked(over_limit=server.load > 0):
            server.load -= 1
            self._executor.caller.flush()
            try:
                yield
            finally:
                server.load += 1
