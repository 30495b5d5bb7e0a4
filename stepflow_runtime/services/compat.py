"""The methods that the Stepflow protocol had before `runs/*` (PROTOCOL §5): thin adapters over runs.

An evaluation is a run of one item that is awaited, a batch a run of many. Nothing here keeps state; `runs` is below,
and what it refuses is refused here with the same errors. What these methods have no word for is told by `runs/get`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET

from protocol.compatibility import (
    BatchDetails,
    BatchOutput,
    BatchState,
    EvaluateParams,
    EvaluateResult,
    FlowError,
    FlowMetadataParams,
    FlowMetadataResult,
    FlowResult,
    GetBatchParams,
    GetBatchResult,
    SubmitBatchParams,
    SubmitBatchResult,
)
from protocol.errors import EXECUTE_ERRORS, ErrorCode, ItemErrorCode, RpcError
from protocol.runs import GetRunParams, ItemResult, Outcome, RunState, RunStatus, SubmitParams
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.engine.programs import Programs
from stepflow_runtime.model.ids import BlobId
from stepflow_runtime.model.json_value import is_object
from stepflow_runtime.services.runs import RunService

NUMBERS: Final[Mapping[str, int]] = {
    ItemErrorCode.INTERNAL: ErrorCode.INTERNAL_ERROR,
    **{item_code: number for number, item_code in EXECUTE_ERRORS.items()},
}
"""Error codes of items as numbers: those with which a component would have failed so; others are `COMPONENT_FAILED`."""

_BATCH_STATES: Final = {
    Outcome.SUCCESS: BatchState.COMPLETED,
    Outcome.FAILED: BatchState.FAILED,
    Outcome.CANCELLED: BatchState.CANCELLED,
}


class CompatService:
    """Answers the older methods.

    Args:
        runs: Submits and reads runs.
        programs: Finds stored flows.
        max_frame_bytes: Of one answer; these methods know no pages.
    """

    def __init__(self, runs: RunService, programs: Programs, max_frame_bytes: int) -> None:
        self._runs = runs
        self._programs = programs
        self._max_frame_bytes = max_frame_bytes

    async def evaluate(self, params: EvaluateParams, connection: Connection) -> EvaluateResult:
        """`flows/evaluate`: an item that fails is a result, not an error."""
        status = await self._runs.submit(
            SubmitParams(
                params.flow_id,
                [params.input],
                wait=True,
                overrides=params.overrides,
                variables=params.variables,
                observability=params.observability,
            ),
            connection,
        )
        assert status.results, "a run that has ended has a result for its item"
        return EvaluateResult(make_flow_result(status.results[0].result))

    async def get_metadata(self, params: FlowMetadataParams, connection: Connection) -> FlowMetadataResult:
        """`flows/get_metadata`: of a step that is not in the flow nothing is told."""
        flow = (await self._programs.get(BlobId(params.flow_id))).flow
        named = {"name": flow.name, "description": flow.description, "version": flow.version}
        result = FlowMetadataResult({key: text for key, text in named.items() if text is not None})
        result.flow_metadata.update(_read_metadata(flow.metadata))
        for step in flow.steps:
            if step.id == params.step_id:
                result.step_metadata = _read_metadata(step.metadata)
        return result

    async def submit_batch(self, params: SubmitBatchParams, connection: Connection) -> SubmitBatchResult:
        """`flows/submit_batch`: a batch is a run, and its id the run's."""
        status = await self._runs.submit(
            SubmitParams(
                params.flow_id,
                params.inputs,
                max_concurrency=params.max_concurrency,
                overrides=params.overrides,
                variables=params.variables,
                observability=params.observability,
            ),
            connection,
        )
        return SubmitBatchResult(status.run_id, status.items.total)

    async def get_batch(self, params: GetBatchParams, connection: Connection) -> GetBatchResult:
        """`flows/get_batch`: outputs by index, an item that has not ended without a result.

        Raises:
            RpcError: `RUN_NOT_FOUND`; `LIMIT_EXCEEDED` if the outputs do not fit one frame.
        """
        status = await self._runs.get(
            GetRunParams(
                params.batch_id,
                wait=params.wait,
                include_results=params.include_results,
                observability=params.observability,
            ),
            connection,
        )
        if status.next_offset is not None:
            raise RpcError(
                ErrorCode.LIMIT_EXCEEDED,
                "the outputs of this batch do not fit one frame: read them in pages, with runs/get",
                limit="maxFrameBytes",
                value=self._max_frame_bytes,
                runId=status.run_id,
            )
        return GetBatchResult(_describe_batch(status), _list_outputs(status) if params.include_results else None)


def make_flow_result(result: ItemResult) -> FlowResult:
    """How an item ended, in the older words: what was cancelled has failed."""
    if result.outcome is Outcome.SUCCESS:
        return FlowResult(Outcome.SUCCESS, result=result.value)
    if result.error is None:
        message = f"cancelled: {result.reason}" if result.reason else "cancelled"
        return FlowResult(Outcome.FAILED, error=FlowError(ErrorCode.REQUEST_CANCELLED, message))
    error = result.error
    number = NUMBERS.get(error.code, ErrorCode.COMPONENT_FAILED)
    return FlowResult(Outcome.FAILED, error=FlowError(number, error.message, error.data))


def _describe_batch(status: RunStatus) -> BatchDetails:
    """A batch was never said to have ended: that shows in `completed_at` and in the counts."""
    items = status.items
    paused = 0 if items.suspended is UNSET else items.suspended
    return BatchDetails(
        batch_id=status.run_id,
        flow_id=status.flow_id,
        flow_name=status.flow_name,
        total_runs=items.total,
        status=BatchState.CANCELLED if status.status is RunState.CANCELLED else BatchState.RUNNING,
        created_at=status.created_at,
        completed_at=status.completed_at,
        completed_runs=items.success,
        running_runs=items.pending + items.running,
        failed_runs=items.failed,
        cancelled_runs=items.cancelled,
        paused_runs=paused,
    )


def _list_outputs(status: RunStatus) -> list[BatchOutput]:
    outputs = [BatchOutput(index, BatchState.RUNNING) for index in range(status.items.total)]
    for entry in status.results or ():
        outcome = entry.result.outcome
        output = outputs[entry.item_index]
        output.status = _BATCH_STATES[outcome]
        if outcome is not Outcome.CANCELLED:
            output.result = make_flow_result(entry.result)
    return outputs


def _read_metadata(metadata: Any) -> dict[str, Any]:
    return metadata if is_object(metadata) else {}
