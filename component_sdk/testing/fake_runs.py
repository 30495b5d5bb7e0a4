"""What a `FakeRuntime` keeps of runs. Each has ended when its submission is answered, its items computed by functions.

Whatever can be done to a run that has ended can be done here. One that goes again does so in a fork, whose items are
computed again as they stand; there are no steps in it that could be re-used.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from component_sdk.codec import encode
from protocol import methods as m
from protocol.errors import ErrorCode, ItemErrorCode, RpcError
from protocol.forking import RestartParams, TimeTravelParams
from protocol.observing import STATE_LETTERS, ItemStatesParams, ItemStatesResult
from protocol.runs import (
    AppendParams,
    AppendResult,
    CancelOutcome,
    CancelRunParams,
    CancelRunResult,
    EventsParams,
    EventsResult,
    GetRunParams,
    ItemCounts,
    ItemEntry,
    ItemError,
    ItemResult,
    ItemState,
    Outcome,
    ResumeParams,
    RunEvent,
    RunParams,
    RunState,
    RunStatus,
    SubmitParams,
    WakeUpParams,
    WakeUpResult,
)

RunItem = Callable[[Mapping[str, Any], Any], Any]
"""Computes an item of a sub-run: (flow, input) → value, or an `ItemResult`. It may be an `async def`; what it raises
fails the item."""


class FakeRuns:
    """Runs in memory.

    Args:
        find_flow: Finds a flow by its id.
        run_item: Computes items.
        now: When all happens.

    Attributes:
        submissions: What was submitted, in order.
        controls: What was asked of runs besides reading them, in order: restarts, travels, cancellations, …
        runs: The runs by id, with all results.
    """

    def __init__(self, find_flow: Callable[[str], Mapping[str, Any]], run_item: RunItem, now: str) -> None:
        self.submissions: list[SubmitParams] = []
        self.controls: list[Struct] = []
        self.runs: dict[str, RunStatus] = {}
        self._find_flow = find_flow
        self._run_item = run_item
        self._now = now
        self._inputs: dict[str, list[Any]] = {}
        self._forks: dict[tuple[str, str], str] = {}
        self.answers: Mapping[str, Callable[[Any], Awaitable[Any]]] = {
            m.SUBMIT_RUN.name: self._submit,
            m.APPEND_RUN.name: self._append,
            m.GET_RUN.name: self._get,
            m.ITEM_STATES.name: self._list_states,
            m.LIST_EVENTS.name: self._list_events,
            m.CANCEL_RUN.name: self._cancel,
            m.RESUME_RUN.name: self._resume,
            m.WAKE_UP_RUN.name: self._wake_up,
            m.PAUSE_RUN.name: self._pause,
            m.UNPAUSE_RUN.name: self._pause,
            m.RESTART_RUN.name: self._restart,
            m.TIME_TRAVEL.name: self._travel,
        }

    # --- runs come and are read ---

    async def _submit(self, params: SubmitParams) -> RunStatus:
        flow = self._find_flow(params.flow_id)
        self.submissions.append(params)
        inputs = [msgspec.json.decode(raw) for raw in params.inputs]
        run_id = self._keep(params.flow_id, flow.get("name"), inputs, await self._compute(flow, enumerate(inputs)))
        return _copy(self.runs[run_id], with_results=bool(params.wait))

    async def _append(self, params: AppendParams) -> AppendResult:
        run, inputs = self._find(params.run_id), [msgspec.json.decode(raw) for raw in params.inputs]
        assert run.results is not None
        self._inputs[run.run_id] += inputs
        run.results += await self._compute(self._find_flow(run.flow_id), enumerate(inputs, params.at_index))
        run.items, run.status = _count(run.results), _conclude(run.results)
        return AppendResult(len(run.results))

    async def _get(self, params: GetRunParams) -> RunStatus:
        status = _copy(self._find(params.run_id), with_results=bool(params.include_results))
        if status.results is not None:
            start = params.result_offset or 0
            status.results = status.results[start : start + (params.result_limit or len(status.results))]
        return status

    async def _list_events(self, params: EventsParams) -> EventsResult:
        run = self._find(params.run_id)
        ends = [("item.completed", entry.item_index, {"outcome": entry.result.outcome}) for entry in run.results or ()]
        told = [("run.created", None, None), *ends, ("run.completed", None, {"status": run.status})]
        events = [
            RunEvent(seq, type, self._now, run.run_id, index, data=data)
            for seq, (type, index, data) in enumerate(told, 1)
            if params.types is None or type in params.types
        ]
        return EventsResult(events, next_cursor="end", done=True)

    async def _list_states(self, params: ItemStatesParams) -> ItemStatesResult:
        results, start = self._find(params.run_id).results or [], params.start_index or 0
        letters = [STATE_LETTERS[ItemState(entry.result.outcome)] for entry in results]
        end = len(letters) if params.limit is None else start + params.limit
        return ItemStatesResult("".join(letters[start:end]), start, len(letters))

    # --- what is done to them ---

    async def _cancel(self, params: CancelRunParams) -> CancelRunResult:
        run = self._note(params)
        return CancelRunResult(CancelOutcome.NOT_CANCELLABLE, _copy(run, with_results=False))

    async def _resume(self, params: ResumeParams) -> RunStatus:
        run = self._note(params)
        message = f"Nothing is suspended in the run {run.run_id}, which is {run.status}."
        raise RpcError(ErrorCode.NOT_SUSPENDED, message, runId=run.run_id, available=[])

    async def _wake_up(self, params: WakeUpParams) -> WakeUpResult:
        self._note(params)
        return WakeUpResult(0)

    async def _pause(self, params: RunParams) -> RunStatus:
        run = self._note(params)
        message = f"The run {run.run_id} has ended: there is nothing to pause."
        raise RpcError(ErrorCode.CONFLICT, message, runId=run.run_id)

    async def _restart(self, params: RestartParams) -> RunStatus:
        run = self._note(params)
        bad = {entry.item_index for entry in run.results or () if entry.result.outcome is not Outcome.SUCCESS}
        return await self._fork(run, params, bad & self._read_items(run, params.item_indexes))

    async def _travel(self, params: TimeTravelParams) -> RunStatus:
        run = self._note(params)
        steps = [step["id"] for step in self._find_flow(run.flow_id).get("steps", ())]
        if steps and params.step not in steps:
            message = f"The flow has no step {params.step!r}."
            raise RpcError(ErrorCode.INVALID_PARAMS, message, path="$.step", runId=run.run_id, available=steps)
        return await self._fork(run, params, self._read_items(run, params.item_indexes))

    async def _fork(self, run: RunStatus, params: RestartParams | TimeTravelParams, items: set[int]) -> RunStatus:
        """A run like another one, with these items computed again; the same for the same request."""
        request = (run.run_id, params.request_id or "")
        if request in self._forks:
            return _copy(self.runs[self._forks[request]], with_results=False)
        inputs = self._inputs[run.run_id]
        again = await self._compute(self._find_flow(run.flow_id), ((index, inputs[index]) for index in sorted(items)))
        entries = {entry.item_index: entry for entry in (*(run.results or ()), *again)}
        run_id = self._keep(run.flow_id, run.flow_name, inputs, [entries[index] for index in range(len(inputs))])
        self.runs[run_id].forked_from = run.run_id
        if params.request_id is not None:
            self._forks[request] = run_id
        return _copy(self.runs[run_id], with_results=False)

    def _read_items(self, run: RunStatus, indexes: list[int] | None) -> set[int]:
        total = run.items.total
        if indexes is not None and (not indexes or max(indexes) >= total):
            message = f"itemIndexes must name items of the run, 0 to {total - 1}."
            raise RpcError(ErrorCode.INVALID_PARAMS, message, path="$.itemIndexes", runId=run.run_id)
        return set(range(total)) if indexes is None else set(indexes)

    def _note(self, params: Any) -> RunStatus:
        run = self._find(params.run_id)
        self.controls.append(params)
        return run

    # --- what they are ---

    def _find(self, run_id: str) -> RunStatus:
        if run_id not in self.runs:
            raise RpcError(ErrorCode.RUN_NOT_FOUND, f"There is no run {run_id}.", runId=run_id)
        return self.runs[run_id]

    def _keep(self, flow_id: str, flow_name: str | None, inputs: list[Any], entries: list[ItemEntry]) -> str:
        run_id = f"run-{len(self.runs)}"
        self._inputs[run_id] = list(inputs)
        self.runs[run_id] = RunStatus(
            run_id=run_id,
            flow_id=flow_id,
            flow_name=flow_name,
            status=_conclude(entries),
            items=_count(entries),
            created_at=self._now,
            completed_at=self._now,
            results=entries,
        )
        return run_id

    async def _compute(self, flow: Mapping[str, Any], inputs: Iterable[tuple[int, Any]]) -> list[ItemEntry]:
        return [ItemEntry(index, await self._compute_one(flow, value), self._now) for index, value in inputs]

    async def _compute_one(self, flow: Mapping[str, Any], value: Any) -> ItemResult:
        try:
            output = self._run_item(flow, value)
            if inspect.isawaitable(output):
                output = await output
            if isinstance(output, ItemResult):
                return output
            return ItemResult(Outcome.SUCCESS, msgspec.json.decode(encode(output)))
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            return ItemResult(Outcome.FAILED, error=ItemError(ItemErrorCode.COMPONENT_FAILED, message))


def _conclude(entries: list[ItemEntry]) -> RunState:
    return RunState.SUCCESS if all(e.result.outcome == Outcome.SUCCESS for e in entries) else RunState.FAILED


def _count(entries: list[ItemEntry]) -> ItemCounts:
    success = sum(entry.result.outcome == Outcome.SUCCESS for entry in entries)
    return ItemCounts(len(entries), success=success, failed=len(entries) - success)


def _copy(status: RunStatus, with_results: bool) -> RunStatus:
    copied = msgspec.convert(msgspec.to_builtins(status), RunStatus)
    if not with_results:
        copied.results = None
    return copied
