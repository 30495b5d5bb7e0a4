"""A compiled flow, and how far one item has got in it.

A `Plan` is made once per flow; a `Progress` is one live item's state of evaluation. Which steps run is decided lazily:
the output and the `mustExecute` steps are demanded, and a step is demanded when an expression that is demanded looks at
it. An expression is evaluated when the steps that it looks at in any case have ended, at once when one of them failed,
and again after each step when it may take branches.

Pure: the engine's state machine, above, decides when steps are dispatched, retried and cancelled; `model.expression`,
below, says what an expression is worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from stepflow_runtime.model.canonical import canonical_json
from stepflow_runtime.model.expression import Expression, Needs, StepReference
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.flow import ErrorAction, Flow, OnError
from stepflow_runtime.model.graph import find_reachable
from stepflow_runtime.model.outcome import Failure, Outcome
from stepflow_runtime.model.validate import check_flow

OUTPUT: Final = ""
"""Stands for the flow's output where step ids are expected; no step has an empty id."""


class PlannedStep:
    """A step that is ready to be executed for any item; the flow's output is one without a component."""

    __slots__ = (
        "component",
        "default",
        "dependents",
        "expression",
        "id",
        "is_eager",
        "must_execute",
        "needs",
        "on_error",
        "references",
        "timeout_ms",
    )

    def __init__(
        self,
        step_id: str,
        expression: Expression,
        *,
        component: str = "",
        on_error: OnError | None = None,
        must_execute: bool = False,
        timeout_ms: int | None = None,
    ) -> None:
        self.id = step_id
        self.expression = expression
        """The input."""
        self.component = component
        self.on_error = on_error or OnError()
        self.must_execute = must_execute
        self.timeout_ms = timeout_ms
        self.needs = expression.needs
        self.is_eager = expression.is_eager
        self.references = expression.references
        """The steps that the input may look at."""
        self.dependents: tuple[str, ...] = ()
        """The steps that may look at this one, in the order of the flow."""
        uses_default = self.on_error.action is ErrorAction.USE_DEFAULT
        self.default = canonical_json(self.on_error.default_value) if uses_default else None
        """The output in case of failure, if `onError` gives one."""


class Plan:
    """A compiled flow. Never changes, and is shared by all items of all runs of the flow."""

    __slots__ = (
        "certain",
        "demanded",
        "doubtful",
        "first",
        "is_plain",
        "is_single_step",
        "must_execute",
        "output",
        "output_step",
        "steps",
        "waiters",
    )

    def __init__(self, steps: Sequence[PlannedStep], output: PlannedStep) -> None:
        self.steps: Mapping[str, PlannedStep] = {step.id: step for step in steps}
        self.output = output
        self.must_execute = tuple(step.id for step in steps if step.must_execute)
        _link_dependents(self.steps)

        needs = {step.id: step.needs for step in steps}
        self.demanded = frozenset(find_reachable((*self.must_execute, *output.needs), needs))
        """The steps that every item demands when it starts, if no `doubtful` one fails."""
        consumers = [*(step for step in steps if step.id in self.demanded), output]
        self.waiters: Mapping[str, Sequence[PlannedStep]] = {
            step_id: tuple(consumer for consumer in consumers if step_id in consumer.needs) for step_id in self.demanded
        }
        """What waits for each of them from the start of an item."""
        self.first = tuple(consumer for consumer in consumers if consumer.is_eager or not consumer.needs)
        """What is evaluated when an item starts."""
        self.doubtful = tuple(consumer for consumer in consumers if consumer.needs and consumer.expression.is_fallible)
        """What may fail when an item starts, so that what it looks at need not run."""

        self.is_plain = not any(consumer.is_eager for consumer in consumers)
        """Whether no data decides what is needed: an item that succeeded has an output of each `demanded` step then."""
        depends_on_data = self.doubtful or any(consumer.expression.is_fallible for consumer in self.first)
        self.certain = self.first if self.is_plain and output.needs and not depends_on_data else None
        """The steps with which every item begins, whatever its data; `None` if that depends on them."""
        self.output_step = _find_output_step(output.expression)
        """The step whose output, unchanged, is the flow's."""
        self.is_single_step = self.is_plain and tuple(self.demanded) == (self.output_step,)
        """Whether an item is over with its one step, whose outcome is the item's."""


def _link_dependents(steps: Mapping[str, PlannedStep]) -> None:
    dependents: dict[str, list[str]] = {step_id: [] for step_id in steps}
    for step in steps.values():
        for step_id in step.references:
            dependents[step_id].append(step.id)
    for step_id, ids in dependents.items():
        steps[step_id].dependents = tuple(ids)


def _find_output_step(expression: Expression) -> str | None:
    match expression:
        case StepReference(path=()):
            return expression.step_id
        case _:
            return None


def compile_plan(flow: Flow) -> Plan:
    """Compile a flow.

    Raises:
        RpcError: `VALIDATION_FAILED` if it can never run; `data.issues` says why.
    """
    findings = Findings()
    expressions = check_flow(flow, findings)
    findings.refuse_errors()
    steps = [
        PlannedStep(
            step.id,
            expressions.inputs[step.id],
            component=step.component,
            on_error=step.on_error,
            must_execute=step.must_execute,
            timeout_ms=step.timeout_ms,
        )
        for step in flow.steps
    ]
    return Plan(steps, PlannedStep(OUTPUT, expressions.output))


class Advance(Struct):
    """What follows from the start of an item, or from the end of one of its steps."""

    ready: list[tuple[str, bytes]] = []
    """Steps to execute, `(id, input)`; none once there is a result."""
    failed: list[tuple[str, Failure]] = []
    """Steps that have no input and so have ended. One with a default counts as ended with it all the same."""
    result: Outcome | None = None
    """How the item ended. Steps may still be executing; nobody needs them any more."""


class Progress(Struct, eq=False):
    """How far one item has got.

    Most items follow the plan's `demanded` and `waiters`, which are shared. An item keeps records of its own where it
    departs from them: in branches that it takes, in joins, and when it is restored.

    Args:
        plan: What is done with the item.
        input: The item's input, raw JSON.
        variables: The run's variables, raw JSON each.

    Attributes:
        outcomes: How the steps ended that have ended.
    """

    plan: Plan
    input: bytes
    variables: Mapping[str, bytes]
    outcomes: dict[str, Outcome] = {}
    _output: bytes | None = None
    _ended_musts: int = 0
    """How many of the plan's `must_execute` have ended."""
    _follows_plan: bool = True
    _own_demanded: set[str] | None = None
    _own_waiters: dict[str, dict[PlannedStep, None]] | None = None
    _pending: dict[str, int] | None = None
    """How many steps have to end yet, for what looks at several; by consumer."""
    _released: set[str] | None = None
    """The eager ones that have their value, whatever else ends."""

    @classmethod
    def restore(
        cls, plan: Plan, input: bytes, variables: Mapping[str, bytes], outcomes: Mapping[str, Outcome]
    ) -> Progress:
        """An item that had got further: then `start` gives the steps that it demands and that have not ended."""
        return cls(plan, input, variables, dict(outcomes), _follows_plan=False)

    def start(self) -> Advance:
        """Demand the output and the `mustExecute` steps; called once, before anything else."""
        plan = self.plan
        advance = Advance()
        if self._follows_plan and plan.certain is not None:
            for step in plan.certain:
                value = step.expression.evaluate(self)
                assert isinstance(value, bytes), "what depends on no data has a value"
                advance.ready.append((step.id, value))
            return advance
        self._follows_plan = self._follows_plan and all(map(self._needs_what_was_planned, plan.doubtful))
        if self._follows_plan:
            self._evaluate(list(plan.first), advance)
            return advance
        todo: list[PlannedStep] = []
        for step_id in plan.must_execute:
            if (outcome := self.outcomes.get(step_id)) is not None:
                self._settle(step_id, outcome, todo, advance)
            else:
                self._demand(step_id, todo)
        self._evaluate([*todo, plan.output], advance)
        return advance

    def ended(self, step_id: str, outcome: Outcome) -> Advance:
        """Take how a step ended; only what waited for it is evaluated again.

        Args:
            step_id: A step that was ready.
            outcome: Its output, or its default, or why it failed for good.
        """
        advance = Advance()
        todo: list[PlannedStep] = []
        self._settle(step_id, outcome, todo, advance)
        self._evaluate(todo, advance)
        return advance

    def demands(self, step_id: str) -> bool:
        """Whether a step is known to be needed."""
        if self._follows_plan and step_id in self.plan.demanded:
            return True
        return self._own_demanded is not None and step_id in self._own_demanded

    def _needs_what_was_planned(self, step: PlannedStep) -> bool:
        value = step.expression.evaluate(self)
        return isinstance(value, tuple) and set(value) == set(step.needs)

    def _settle(self, step_id: str, outcome: Outcome, todo: list[PlannedStep], advance: Advance) -> None:
        self.outcomes[step_id] = outcome
        has_failed = isinstance(outcome, Failure)
        if self.plan.steps[step_id].must_execute:
            self._ended_musts += 1
            if has_failed:
                advance.result = outcome
        if self._follows_plan:
            self._wake(self.plan.waiters.get(step_id, ()), has_failed, todo)
        if self._own_waiters is not None:
            self._wake(self._own_waiters.pop(step_id, ()), has_failed, todo)

    def _wake(self, waiters: Iterable[PlannedStep], has_failed: bool, todo: list[PlannedStep]) -> None:
        for consumer in waiters:
            if has_failed or consumer.is_eager or len(consumer.needs) == 1:
                todo.append(consumer)
                continue
            if self._pending is None:
                self._pending = {}
            left = self._pending[consumer.id] = self._pending.get(consumer.id, len(consumer.needs)) - 1
            if not left:
                todo.append(consumer)

    def _evaluate(self, todo: list[PlannedStep], advance: Advance) -> None:
        for consumer in todo:  # grows while it is worked off
            if advance.result is not None:
                break
            step_id = consumer.id
            if step_id in self.outcomes or (self._released is not None and step_id in self._released):
                continue
            value = consumer.expression.evaluate(self)
            if isinstance(value, bytes):
                if consumer.is_eager:
                    self._released = self._released or set()
                    self._released.add(step_id)
                if consumer is self.plan.output:
                    self._output = value
                else:
                    advance.ready.append((step_id, value))
            elif isinstance(value, tuple):
                self._wait(consumer, value, todo)
            elif consumer is self.plan.output:
                advance.result = value
            else:
                advance.failed.append((step_id, value))
                self._settle(step_id, value if consumer.default is None else consumer.default, todo, advance)
        if advance.result is None and self._output is not None and self._ended_musts == len(self.plan.must_execute):
            advance.result = self._output
        if advance.result is not None:
            advance.ready.clear()

    def _wait(self, consumer: PlannedStep, needs: Needs, todo: list[PlannedStep]) -> None:
        if self._own_waiters is None:
            self._own_waiters = {}
        for step_id in needs:
            if not self._follows_plan or consumer not in self.plan.waiters.get(step_id, ()):
                self._own_waiters.setdefault(step_id, {})[consumer] = None
                self._demand(step_id, todo)
        if not consumer.is_eager:
            self._pending = self._pending or {}
            self._pending[consumer.id] = len(needs)

    def _demand(self, step_id: str, todo: list[PlannedStep]) -> None:
        if self.demands(step_id):
            return
        if self._own_demanded is None:
            self._own_demanded = set()
        self._own_demanded.add(step_id)
        todo.append(self.plan.steps[step_id])
