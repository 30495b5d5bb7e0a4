"""Whether a flow can run: everything that is wrong with it, or odd, each with its place (FLOWS, "Validation")."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, Final

from msgspec import UNSET, Struct

from protocol.flows import Fit, Severity
from protocol.types import ComponentInfo
from stepflow_runtime.model.expression import Expression
from stepflow_runtime.model.expression_syntax import compile_expression
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.flow import Flow, Step, read_flow
from stepflow_runtime.model.graph import find_cycle, find_reachable
from stepflow_runtime.model.json_value import is_array, is_object
from stepflow_runtime.model.pointer import extend
from stepflow_runtime.model.schema import Schema, SchemaError
from stepflow_runtime.model.types.fitting import compare
from stepflow_runtime.model.types.inference import Scope, infer
from stepflow_runtime.model.types.lattice import UNKNOWN
from stepflow_runtime.model.types.reading import read_schema

NOTHING_KNOWN: Final = Scope(UNKNOWN, UNKNOWN, {})


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
    if components is not None:
        is_sound = not any(finding.severity is Severity.ERROR for finding in findings)
        for step in flow.steps:
            _check_component(step, components(step.component), findings, is_sound=is_sound)
    return findings


def check_flow(flow: Flow, findings: Findings) -> Expressions:
    """Compile a flow's expressions and check its steps and their references.

    Returns:
        What was compiled; not to be used if there are errors among the findings.
    """
    inputs: dict[str, Expression] = {}
    for step in flow.steps:
        if step.id in inputs:
            findings.error(
                "duplicate_step_id",
                extend(step.pointer, "id"),
                f"Another step has the id {step.id!r}; rename one of them.",
            )
        else:
            inputs[step.id] = compile_expression(step.input, extend(step.pointer, "input"), findings)
    output = compile_expression(flow.output, "/output", findings)
    _check_references(flow, Expressions(inputs, output), findings)
    _check_schemas(flow, findings)
    return Expressions(inputs, output)


def _check_references(flow: Flow, expressions: Expressions, findings: Findings) -> None:
    steps = {step.id: step for step in reversed(flow.steps)}
    inputs = {step_id: (extend(step.pointer, "input"), step.input) for step_id, step in steps.items()}
    owners = [*((*inputs[step_id], expression) for step_id, expression in expressions.inputs.items())]
    for place, value, expression in [*owners, ("/output", flow.output, expressions.output)]:
        for step_id in sorted(expression.references - steps.keys()):
            close = difflib.get_close_matches(step_id, steps, 1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            findings.error("unknown_step", find_reference(value, step_id, place), f"There is no step {step_id!r}{hint}")
    references = {step_id: sorted(expression.references) for step_id, expression in expressions.inputs.items()}
    if cycle := find_cycle(references):
        place, value = inputs[cycle[0]]
        message = f"These steps wait for each other: {' -> '.join(cycle)}; take one of the references out."
        findings.error("cycle", find_reference(value, cycle[1], place), message)
    roots = [*expressions.output.references, *(step.id for step in flow.steps if step.must_execute)]
    reachable = find_reachable(roots, references)
    for step in flow.steps:
        if step.id and step.id not in reachable:
            message = f"Nothing that is needed refers to step {step.id!r}, so it never runs; is mustExecute meant?"
            findings.warn("unreachable_step", step.pointer, message)


def find_reference(value: Any, step_id: str, pointer: str) -> str:
    """The pointer to where an expression names a step, the first time; `pointer` itself if that cannot be told."""

    def search(value: Any, pointer: str) -> str | None:
        if is_object(value):
            if "$literal" in value:
                return None
            if value.get("$step") == step_id:
                return extend(pointer, "$step")
        members = value.items() if is_object(value) else enumerate(value) if is_array(value) else ()
        return next(filter(None, (search(member, extend(pointer, key)) for key, member in members)), None)

    return search(value, pointer) or pointer


def _check_schemas(flow: Flow, findings: Findings) -> None:
    for place, schema in (("input", flow.input_schema), ("variables", flow.variables_schema)):
        if schema is not UNSET:
            try:
                Schema(schema)
            except SchemaError as error:
                findings.error("bad_schema", extend(f"/schemas/properties/{place}", *error.path), str(error))


def describe_unknown_component(component: str) -> str:
    """What it means that a component is not known."""
    return f"No component {component!r} is known; if none turns up, the step fails."


def _check_component(step: Step, info: ComponentInfo | None, findings: Findings, *, is_sound: bool) -> None:
    if info is None:
        findings.warn(
            "unknown_component", extend(step.pointer, "component"), describe_unknown_component(step.component)
        )
    elif is_sound:
        place = extend(step.pointer, "input")
        given, _ = infer(step.input, NOTHING_KNOWN, place)
        fitting = compare(given, read_schema(info.input_schema))
        for reason in fitting.reasons if fitting.fit is Fit.MISFITS else ():
            message = f"The input does not fit {step.component!r}: it {reason.message}."
            findings.warn("input_misfit", extend(place, *reason.path), message)
