"""Checkpoints (PROTOCOL §4): the first value that a step of an item wrote under a key, whatever its attempt."""

from __future__ import annotations

from msgspec import UNSET, Raw

from protocol.byproducts import CheckpointParams, CheckpointResult
from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.engine.active_run import ActiveRun
from stepflow_runtime.engine.byproducts import Place, RunByproducts
from stepflow_runtime.ports import ByproductStore, Checkpoint
from stepflow_runtime.services.byproducts.additions import Additions, ByproductLimits, Target, refuse_ended
from stepflow_runtime.services.submission import limit_exceeded


class CheckpointService:
    """Keeps values for steps that are executed again.

    Args:
        additions: Finds the run.
        byproducts: Has what was kept.
        limits: Of checkpoints.
    """

    def __init__(self, additions: Additions, byproducts: ByproductStore, limits: ByproductLimits) -> None:
        self._additions = additions
        self._byproducts = byproducts
        self._limits = limits

    async def checkpoint(self, params: CheckpointParams, connection: Connection) -> CheckpointResult:
        """`runs/checkpoint`: answered when what it tells is durable.

        Raises:
            RpcError: `NOT_CURRENT`, also for whoever executes nothing in this run; `RUN_NOT_FOUND`, `LIMIT_EXCEEDED`.
        """
        target = await self._additions.open(params.run_id, connection, params.observability)
        execution = target.execution
        if execution is None or execution.run_id != target.run_id:
            message = "only a step that executes keeps checkpoints: send its observability, and the runId of its run"
            raise RpcError(ErrorCode.NOT_CURRENT, message, runId=target.run_id)
        place: Place = (execution.item_index, execution.step_id, params.key)
        kept = await self._find(target, place)
        if kept is None and params.value is not UNSET:
            value = bytes(params.value)
            await self._refuse_excess(target, place, len(value))
            run, made = self._claim(target)
            kept = made.checkpoint(place) or value
            if kept is value:
                made.keep(Checkpoint(*place, value))
        run, made = self._claim(target)
        if made.checkpoint(place) is not None:  # it is on its way, by whomever
            await self._additions.commit(run)
        return CheckpointResult(None if kept is None else Raw(kept), kept is not None)

    async def _find(self, target: Target, place: Place) -> bytes | None:
        """The value that is there, or on its way."""
        while True:
            _, made = self._claim(target)
            takes = made.takes
            kept = made.checkpoint(place) or await self._byproducts.checkpoint(target.run_id, *place)
            if kept is not None or made.takes - takes <= 1:  # what came while the store was asked is still found
                return kept or made.checkpoint(place)

    def _claim(self, target: Target) -> tuple[ActiveRun, RunByproducts]:
        claimed = self._additions.claim(target)
        if claimed is None:
            raise refuse_ended(target.run_id, "checkpoint")
        return claimed

    async def _refuse_excess(self, target: Target, place: Place, size: int) -> None:
        limits, run_id = self._limits, target.run_id
        if size > limits.max_checkpoint_bytes:
            why = "the value of a checkpoint is too large; put it as a blob and keep its id"
            raise limit_exceeded("maxCheckpointBytes", limits.max_checkpoint_bytes, size, why, runId=run_id)
        count = await self._byproducts.count_checkpoints(run_id, *place[:2])
        if count >= limits.max_checkpoints:
            why = "the step has kept too many checkpoints; keep larger steps of its work"
            raise limit_exceeded("maxCheckpoints", limits.max_checkpoints, count + 1, why, runId=run_id)
