"""Which runs a peer may see (PROTOCOL §4, "Visibility").

A client sees all. A component server sees the trees in which it executes something now, and the runs that its plugin
submitted; any other run is not found for it, in the same words as one that is absent.
"""

from __future__ import annotations

from protocol.errors import RpcError
from protocol.types import Observability
from stepflow_runtime.connect.connection import Connection, Connections
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.ports import RunRecord
from stepflow_runtime.services.status import run_not_found


class Visibility:
    """Tells what peers may see.

    Args:
        connections: Finds the executions that requests belong to.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def sees(self, connection: Connection, spec: RunSpec, observability: Observability | None = None) -> bool:
        """Whether a peer may see a run.

        Args:
            connection: The peer's.
            spec: The run.
            observability: As the request echoes it: an execution counts on any connection.
        """
        if connection.role != "server":
            return True
        if spec.created_by is not None and spec.created_by == connection.plugin:
            return True
        try:
            execution = self._connections.find_execution(connection, observability)
        except RpcError:  # who reads need not be current
            execution = None
        if execution is not None and execution.root_run_id == spec.root_run_id:
            return True
        return any(other.root_run_id == spec.root_run_id for other in connection.executions.values())

    def require(
        self,
        connection: Connection,
        record: RunRecord | None,
        run_id: str,
        observability: Observability | None = None,
    ) -> RunRecord:
        """The run, if it is there for this peer.

        Raises:
            RpcError: `RUN_NOT_FOUND`.
        """
        if record is None or not self.sees(connection, record.spec, observability):
            raise run_not_found(run_id)
        return record
