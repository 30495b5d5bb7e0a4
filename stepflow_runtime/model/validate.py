"""Whether a flow can run: everything that is wrong with it, or odd, each with its place (FLOWS, "Validation")."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from protocol.types import ComponentInfo
from stepflow_runtime.model.expression import Expression, compile_expression
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.flow import Flow, read_flow
from stepflow_runtime.model.graph import find_cycle, find_reachable
from stepflow_runtime.model.pointer import extend


class Expressions(Struct, frozen=True):
    """The compiled expressions of a flow."""

    inputs: dict[str, Expression]
    """By step id."""
    output: Expression


def validate(flow_value: Any, *, components: Callable[[str], ComponentInfo | None] | None = None) -> Findings:
    """Find what is wrong with a flow.

    Args:
        flow_value: The flow as JSON.
        components: What is known of a component, `None` if it is unknown; without it components are not checked.

    Returns:
        Errors, for what can never run, and warnings, in the order of the checks.
    """
    findings = Findings()
    flow = read_flow(flow_value, findings)
    check_flow(flow, findings)
    return findings


def check_flow(flow: Flow, findings: Findings) -> Expressions:
    """Compile a flow's expressions and check its steps and their references.

    Returns:
        What was compiled; not to be used if there are errors among the findings.
    """
    inputs: dict[str, Expression] = {}
    for step in flow.steps:
        if step.id in inputs:
            findings.error("duplicate_step_id", extend(step.pointer, "id"), f"Another step has the id {step.id!r}.")
        else:
            inputs[step.id] = compile_expression(step.input, extend(step.pointer, "input"), findings)
    output = compile_expression(flow.output, "/output", findings)
    _check_references(flow, Expressions(inputs, output), findings)
    return Expressions(inputs, output)


def _check_references(flow: Flow, expressions: Expressions, findings: Findings) -> None:
    places = {step.id: extend(step.pointer, "input") for step in reversed(flow.steps)}
    owners = [*((places[step_id], expression) for step_id, expression in expressions.inputs.items())]
    for place, expression in [*owners, ("/output", expressions.output)]:
        for step_id in sorted(expression.references - places.keys()):
            close = difflib.get_close_matches(step_id, places, 1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            findings.error("unknown_step", place, f"There is no step {step_id!r}{hint}")
    references = {step_id: sorted(expression.references) for step_id, expression in expressions.inputs.items()}
    if cycle := find_cycle(references):
        findings.error("cycle", places[cycle[0]], f"These steps wait for each other: {' -> '.join(cycle)}.")
    roots = [*expressions.output.references, *(step.id for step in flow.steps if step.must_execute)]
    reachable = find_reachable(roots, references)
    for step in flow.steps:
        if step.id and step.id not in reachable:
            message = f"Nothing that is needed refers to step {step.id!r}, so it never runs; is mustExecute meant?"
            findings.warn("unreachable_step", step.pointer, message)
