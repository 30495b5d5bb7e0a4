"""Adding something to a run beside its results: who may, to which runs, and when it is durable (PROTOCOL §4).

An execution must be current in the same turn in which something is added, and the run must not have ended. So a request
first loads what it needs with `open`, which may wait, and then calls `claim` and adds, which do not.
"""

from __future__ import annotations

from msgspec import Struct

from protocol.byproducts import StreamWriterInfo
from protocol.errors import ErrorCode, RpcError
from protocol.types import Observability
from stepflow_runtime.connect.connection import Connection, Connections
from stepflow_runtime.engine.active_run import ActiveRun
from stepflow_runtime.engine.byproducts import RunByproducts
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import ByproductStore, Execution, RunRecord, Store
from stepflow_runtime.services.lookup import RunLookup
from stepflow_runtime.services.visibility import Visibility


class ByproductLimits(Struct, frozen=True):
    """Limits of what runs make beside their results, each configurable under its name in `limits`.

    Args:
        max_stream_chunk_bytes: Of one chunk of a stream, as it is written.
        max_stream_write_chunks: In one write.
        max_stream_bytes: Of one stream.
        max_streams: Of one run.
        max_checkpoint_bytes: Of one value.
        max_checkpoints: Of one step of one item.
        max_artifacts: Of one run.
    """

    max_stream_chunk_bytes: int = 1024 * 1024
    max_stream_write_chunks: int = 1000
    max_stream_bytes: int = 256 * 1024 * 1024
    max_streams: int = 100
    max_checkpoint_bytes: int = 1024 * 1024
    max_checkpoints: int = 10_000
    max_artifacts: int = 1000


class Target(Struct, frozen=True):
    """The run that something is to be added to, and the execution that adds it, if it is one."""

    record: RunRecord
    execution: Execution | None

    @property
    def run_id(self) -> RunId:
        return self.record.spec.run_id

    @property
    def writer(self) -> str | None:
        """Which step of which item it is, in whatever attempt; it may be one of another run."""
        execution = self.execution
        if execution is None:
            return None
        place = f"{execution.item_index}/{execution.step_id}"
        return place if execution.run_id == self.run_id else f"{execution.run_id}/{place}"


def read_writer(writer: str) -> StreamWriterInfo:
    """The step that a `Target.writer` names."""
    first, _, rest = writer.partition("/")
    if first.isdecimal():
        return StreamWriterInfo(int(first), rest)
    item, _, step = rest.partition("/")
    return StreamWriterInfo(int(item), step, first)


class Additions:
    """Finds the run that a request adds to, and has what was added committed.

    Args:
        executor: Has the runs that have not ended.
        store: Has all.
        byproducts: What they have made.
        connections: Tells which execution a request belongs to.
        visibility: Tells what a peer may see.
    """

    def __init__(
        self,
        executor: Executor,
        store: Store,
        byproducts: ByproductStore,
        connections: Connections,
        visibility: Visibility,
    ) -> None:
        self._executor = executor
        self._byproducts = byproducts
        self._connections = connections
        self._visibility = visibility
        self._lookup = RunLookup(executor, store)

    async def open(self, run_id: str, connection: Connection, observability: Observability | None) -> Target:
        """The run that is meant.

        Raises:
            RpcError: `RUN_NOT_FOUND`, `NOT_CURRENT`.
        """
        execution = self._connections.find_execution(connection, observability)
        record = await self._lookup.find(RunId(run_id))
        record = self._visibility.require(connection, record, run_id, observability)
        run = self._executor.active(record.spec.run_id)
        if run is not None and run.byproducts is None:
            streams = await self._byproducts.streams(record.spec.run_id)
            artifacts = await self._byproducts.artifacts(record.spec.run_id)
            if run.byproducts is None:
                run.byproducts = RunByproducts(streams, artifacts)
        return Target(record, execution)

    def claim(self, target: Target) -> tuple[ActiveRun, RunByproducts] | None:
        """The run, to add to it in this turn; `None` if it has ended.

        Raises:
            RpcError: `NOT_CURRENT`: the execution has ended meanwhile.
        """
        execution = target.execution
        if execution is not None and not self._executor.is_current(execution):
            message = "this execution is no longer current, and nothing of it is kept any more: stop this work"
            raise RpcError(ErrorCode.NOT_CURRENT, message, executionId=execution.execution_id, runId=target.run_id)
        run = self._executor.active(target.run_id)
        if run is None or run.state.facts.is_terminal or run.byproducts is None:
            return None
        return run, run.byproducts

    async def commit(self, run: ActiveRun) -> None:
        """Waits until what was added is durable, with whatever else is committed then."""
        await self._executor.commit_byproducts(run)


def refuse_ended(run_id: RunId, what: str) -> RpcError:
    """Nothing is added to a run that has ended."""
    return RpcError(ErrorCode.NOT_CURRENT, f"run {run_id} has ended, and takes no {what} any more", runId=run_id)
