"""What tests of streams, checkpoints and artifacts share: requests of clients, and of executions by their server."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from protocol.byproducts import (
    Artifact,
    CheckpointParams,
    CheckpointResult,
    PutArtifactParams,
    ReadStreamParams,
    ReadStreamResult,
    StreamParams,
    WriteStreamParams,
)
from protocol.types import Observability
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.ports import Execution
from tests.stepflow_runtime.engine.world import World


def raw(value: Any) -> Raw:
    return Raw(value if isinstance(value, bytes) else msgspec.json.encode(value))


class Peer:
    """Somebody who asks: a client, or, with an execution, the server that carries it out.

    Args:
        world: Whom it asks.
        execution: On whose behalf.
    """

    def __init__(self, world: World, execution: Execution | None = None) -> None:
        self._services = world.byproducts
        self._observability: Observability | None = None
        self.connection = world.client
        if execution is not None:
            self.connection = Connection("python[0]", role="server", plugin="python")
            self.connection.executions[execution.execution_id] = execution
            self._observability = Observability(execution_id=execution.execution_id)

    async def write(self, run_id: str, *chunks: Any, **rest: Any) -> int:
        params = WriteStreamParams(run_id, [raw(chunk) for chunk in chunks], observability=self._observability, **rest)
        return (await self._services.writer.write(params, self.connection)).tail_index

    async def close(self, run_id: str, **rest: Any) -> int:
        params = StreamParams(run_id, observability=self._observability, **rest)
        return (await self._services.writer.close(params, self.connection)).tail_index

    async def read(self, run_id: str, start_index: int = 0, **rest: Any) -> ReadStreamResult:
        params = ReadStreamParams(run_id, start_index=start_index, observability=self._observability, **rest)
        return await self._services.reader.read(params, self.connection)

    async def read_data(self, run_id: str, start_index: int = 0, **rest: Any) -> list[Any]:
        return [msgspec.json.decode(chunk.data) for chunk in (await self.read(run_id, start_index, **rest)).chunks]

    async def checkpoint(self, run_id: str, key: str, *value: Any) -> CheckpointResult:
        params = CheckpointParams(run_id, key, observability=self._observability)
        if value:
            params.value = raw(*value)
        return await self._services.checkpoints.checkpoint(params, self.connection)

    async def put_artifact(self, run_id: str, name: str, blob_id: str, **rest: Any) -> Artifact:
        params = PutArtifactParams(run_id, name, "text/plain", blob_id, observability=self._observability, **rest)
        return await self._services.artifacts.put(params, self.connection)
