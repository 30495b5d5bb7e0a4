"""Runs by their id: from the executor while they go on, from the store afterwards."""

from __future__ import annotations

from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import RunRecord, Store
from stepflow_runtime.services.status import run_not_found


class RunLookup:
    """Finds runs as their last commit left them."""

    def __init__(self, executor: Executor, store: Store) -> None:
        self._executor = executor
        self._store = store

    async def find(self, run_id: RunId) -> RunRecord | None:
        """The run, if there is one."""
        return self._executor.record(run_id) or await self._store.run(run_id)

    async def require(self, run_id: RunId) -> RunRecord:
        """The run.

        Raises:
            RpcError: `RUN_NOT_FOUND`.
        """
        record = await self.find(run_id)
        if record is None:
            raise run_not_found(run_id)
        return record
