"""A flow over an item whose steps were executed before: what it would call, and what would come of it. Pure.

Nothing is executed. Each step that the flow calls is answered by what was recorded, if it was; what a flow needs and
nobody recorded leaves the item without a result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from stepflow_runtime.engine.plan import Advance, Plan, Progress
from stepflow_runtime.model.outcome import Outcome

Answer = Callable[[str, str, bytes], Outcome | None]
"""What a step gives: (step, component, input as raw JSON) → its outcome, `None` if that is not known."""


class Replayed(Struct):
    """What a flow makes of an item.

    Args:
        calls: The inputs of the steps that are called, as raw JSON, in the order in which they are.
        unanswered: Those of them that have no answer.
        result: How the item ends; `None` if that depends on them.
    """

    calls: dict[str, bytes] = {}
    unanswered: list[str] = []
    result: Outcome | None = None


def replay_item(plan: Plan, item_input: bytes, variables: Mapping[str, bytes], answer: Answer) -> Replayed:
    """Evaluates a flow over an item.

    Args:
        plan: The flow.
        item_input, variables: Raw JSON.
        answer: Knows what steps give.
    """
    progress, replayed = Progress(plan, item_input, variables), Replayed()
    pending = [progress.start()]
    while pending:
        advance: Advance = pending.pop(0)
        if advance.result is not None:
            replayed.result = advance.result
            break
        for step, value in advance.ready:
            replayed.calls[step] = value
            outcome = answer(step, plan.steps[step].component, value)
            if outcome is None:
                replayed.unanswered.append(step)
                continue
            default = plan.steps[step].default
            failed = not isinstance(outcome, bytes)
            pending.append(progress.ended(step, default if failed and default is not None else outcome))
    return replayed
