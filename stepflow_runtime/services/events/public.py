"""Public events, a mapping of journal events (PROTOCOL §4): one gives none, one or several, in the journal's order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from protocol.errors import ErrorCode, RpcError
from protocol.runs import Outcome
from stepflow_runtime.engine.fork import count
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent
from stepflow_runtime.model.outcome import Failure
from stepflow_runtime.services.status import format_time

EVENT_TYPES: Final = frozenset(
    {
        "run.created",
        "run.started",
        "run.completed",
        "run.cancelRequested",
        "run.appended",
        "run.forked",
        "item.started",
        "item.completed",
        "step.started",
        "step.completed",
        "step.retrying",
        "step.suspended",
        "step.resumed",
        "run.suspended",
        "run.paused",
        "run.unpaused",
        "subRun.created",
    }
)


def read_types(types: list[str], field: str = "events") -> frozenset[str]:
    """Types of events, as a request names them.

    Raises:
        RpcError: `INVALID_PARAMS` if there are others among them.
    """
    unknown = sorted(set(types) - EVENT_TYPES)
    if unknown:
        raise RpcError(
            ErrorCode.INVALID_PARAMS,
            f"there are no events of type {', '.join(unknown)}; types are {', '.join(sorted(EVENT_TYPES))}",
            path=f"$.{field}",
        )
    return frozenset(types)


Public = tuple[str, int | None, str | None, dict[str, Any] | None]


def translate(event: AnyEvent, skip: int = 0) -> Iterable[Public]:
    """The public events of a journal event, without the first `skip`: type, item, step and data of each."""
    match event:
        case ev.ItemsCancelled(first=first, last=last, reason=reason):
            return (_item_completed(item, Outcome.CANCELLED, _reason(reason)) for item in range(first + skip, last + 1))
        case _:
            return _translate_small(event)[skip:]


def _translate_small(event: AnyEvent) -> list[Public]:
    match event:
        case ev.RunCreated(spec=spec, total=total, sealed=sealed):
            return [("run.created", None, None, {"flowId": spec.flow_id, "total": total, "sealed": sealed})]
        case ev.RunStarted():
            return [("run.started", None, None, None)]
        case ev.RunAppended(total=total, sealed=sealed):
            return [("run.appended", None, None, {"total": total, "sealed": sealed})]
        case ev.ItemsStarted(first=first, last=last, steps=steps, attempt=attempt):
            public: list[Public] = []
            for item in range(first, last + 1):
                public.append(("item.started", item, None, None))
                public.extend(("step.started", item, step, {"attempt": attempt}) for step in steps)
            return public
        case ev.StepStarted(item=item, step=step, attempt=attempt):
            return [("step.started", item, step, {"attempt": attempt})]
        case ev.StepIdled(item=item, step=step, attempt=attempt, reason=reason):
            data = {"attempt": attempt, "outcome": Outcome.SUCCESS, "noAction": True, **_reason(reason)}
            return [("step.completed", item, step, data)]
        case ev.StepSucceeded(item=item, step=step, attempt=attempt, since=since):
            completed: Public = ("step.completed", item, step, {"attempt": attempt, "outcome": Outcome.SUCCESS})
            return [completed, _item_completed(item, Outcome.SUCCESS)] if since else [completed]
        case ev.StepFailed(item=item, step=step, attempt=attempt, error=error, defaulted=defaulted):
            data = {"attempt": attempt, "outcome": Outcome.FAILED, **_describe(error)}
            return [("step.completed", item, step, {**data, "defaulted": True} if defaulted else data)]
        case ev.StepRetrying(item=item, step=step, attempt=attempt, error=error, due_ms=due_ms, cause=cause):
            data = {"attempt": attempt, "dueAt": format_time(due_ms), "cause": cause, **_describe(error)}
            return [("step.retrying", item, step, data)]
        case ev.ItemSucceeded(item=item):
            return [_item_completed(item, Outcome.SUCCESS)]
        case ev.ItemFailed(item=item, error=error):
            return [_item_completed(item, Outcome.FAILED, _describe(error))]
        case ev.ItemCancelled(item=item, reason=reason):
            return [_item_completed(item, Outcome.CANCELLED, _reason(reason))]
        case ev.CancelRequested(reason=reason, items=items):
            meant = {} if items is None else {"itemIndexes": list(items)}
            return [("run.cancelRequested", None, None, {**_reason(reason), **meant} or None)]
        case ev.ChildCreated(item=item, step=step, child=child):
            return [("subRun.created", item, step, {"runId": child})]
        case ev.RunCompleted(status=status):
            return [("run.completed", None, None, {"status": status})]
        case ev.StepSuspended(item=item, step=step, label=label, payload=payload, due_ms=due_ms, sleeps=sleeps):
            if sleeps:
                return [("step.suspended", item, step, {"until": format_time(due_ms)})]
            expires = {"expiresAt": format_time(due_ms)} if due_ms else {}
            return [("step.suspended", item, step, {"label": label, "payload": payload, **expires})]
        case ev.StepResumed(item=item, step=step, attempt=attempt, label=label):
            return [("step.resumed", item, step, {"attempt": attempt, "label": label})]
        case ev.RunSuspended():
            return [("run.suspended", None, None, None)]
        case ev.RunPaused():
            return [("run.paused", None, None, None)]
        case ev.RunUnpaused():
            return [("run.unpaused", None, None, None)]
        case ev.RunForked(origin=origin, travelling=travelling):
            return [("run.forked", None, None, {"forkedFrom": origin, "items": count(travelling)})]
        case ev.StepsReused() | ev.StepsRestarted():
            return []
        case ev.ItemParked() | ev.ItemWoken() | ev.ItemContinued() | ev.SleepBegan() | ev.SleepsStopped():
            return []
        case ev.WindowOpened() | ev.RunStopped() | ev.RunRecovered() | ev.ItemsCancelled():
            return []


def _item_completed(item: int, outcome: Outcome, more: dict[str, Any] | None = None) -> Public:
    return "item.completed", item, None, {"outcome": outcome, **(more or {})}


def _describe(error: Failure) -> dict[str, Any]:
    return {"error": {"code": error.code, "message": error.message}}


def _reason(reason: str | None) -> dict[str, Any]:
    return {} if reason is None else {"reason": reason}
