"""A flow's types: each step after what it refers to, what does not fit with its place, and all of it in bounds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import UNSET

from protocol.flows import Fit, FlowTypes, Severity
from protocol.types import ComponentInfo
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.flow import read_flow
from stepflow_runtime.model.types.flow_types import MAX_TYPED_STEPS, TypedFlow
from stepflow_runtime.model.types.reading import read_schema
from stepflow_runtime.model.types.writing import describe
from stepflow_runtime.model.validate import check_flow

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}


def accept(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields)}


COMPONENTS = {
    "/name": (accept(id=NUMBER), accept(name=TEXT, nick={"type": ["string", "null"]})),
    "/greet": (accept(name=TEXT), TEXT),
    "/any": (UNSET, UNSET),
}


def infer_types(
    flow_value: dict[str, Any], infer: Callable[[str, Any], Any] = lambda component, input: COMPONENTS[component][1]
) -> tuple[list[tuple[Severity, str, str, str]], FlowTypes]:
    flow = read_flow(flow_value, Findings())
    known = {path: ComponentInfo(path, input_schema=schema) for path, (schema, _) in COMPONENTS.items()}
    inputs = check_flow(flow, Findings()).inputs
    types = TypedFlow(flow, {step_id: one.references for step_id, one in inputs.items()}, known, flow_value)
    for step in types.steps():
        types.note_output(step, infer(step.component, types.input_schema(step)))
    inferred = types.finish()
    return [(one.severity, one.code, one.path, one.message) for one in types.findings], inferred


def make_flow(greeting: Any, **more: Any) -> dict[str, Any]:
    greet = {"id": "greet", "component": "/greet", "input": greeting}
    name = {"id": "name", "component": "/name", "input": {"id": {"$input": "id"}}}
    return {"steps": [greet, name], "output": {"text": {"$step": "greet"}}, **more}


def test_a_flow_whose_types_fit_has_no_findings_and_an_output_type() -> None:
    flow = make_flow({"name": {"$step": "name", "path": "name"}}, inputSchema=accept(id=NUMBER))
    findings, types = infer_types(flow)
    assert findings == []
    assert [(step.id, step.fit) for step in types.steps] == [("greet", Fit.FITS), ("name", Fit.FITS)]
    assert describe(read_schema(types.output)) == "{text: string}"
    assert types.unknown == 0


@pytest.mark.parametrize(
    ("greeting", "severity", "code", "place", "message"),
    [
        ({"name": 1}, "error", "type_misfit", "/steps/0/input/name", "The input's name does not fit what '/gr"),
        ({"nmae": "x"}, "error", "type_misfit", "/steps/0/input", "it has no field 'name', which is needed"),
        ({"name": {"$step": "name"}}, "error", "type_misfit", "/steps/0/input/name", "and string is needed"),
        ({"name": {"$step": "name", "path": "nick"}}, "warning", "maybe_type_misfit", "/steps/0/input/name", "be null"),
        ({"name": {"$step": "name", "path": "$.name.x"}}, "error", "missing_value", "/steps/0/input/name/path",
         "The output of step 'name' is string, without a field 'x'."),
        ({"name": {"$step": "name", "path": "nikc"}}, "warning", "maybe_missing_value", "/steps/0/input/name/path",
         "did you mean 'nick'?"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_place(
    greeting: Any, severity: str, code: str, place: str, message: str
) -> None:
    findings, types = infer_types(make_flow(greeting, inputSchema=accept(id=NUMBER)))
    assert [finding[:3] for finding in findings] == [(severity, code, place)]
    assert message in findings[0][3]
    assert types.steps[0].fit is (Fit.MISFITS if severity == "error" else Fit.MAY_MISFIT)


def test_what_nobody_declared_is_quiet_and_counted() -> None:
    findings, types = infer_types(make_flow({"name": {"$input": "name"}}))
    assert findings == []
    assert [step.fit for step in types.steps] == [Fit.UNKNOWN, Fit.UNKNOWN]
    assert types.unknown == 2


def test_a_default_is_one_of_the_outputs() -> None:
    name = {"id": "name", "component": "/any", "onError": {"action": "useDefault", "defaultValue": {"n": 1}}}
    flow = {"steps": [name], "output": {"$step": "name"}}
    _, types = infer_types(flow, lambda component, input: accept(n=TEXT))
    assert describe(read_schema(types.output)) == "{n: string} | {n: 1}"


def test_the_flow_may_declare_what_its_steps_give() -> None:
    schemas = {"type": "object", "properties": {"steps": {"name": accept(n=TEXT)}, "output": NUMBER}}
    flow = {
        "schemas": schemas,
        "steps": [{"id": "name", "component": "/any"}],
        "output": {"$step": "name", "path": "n"},
    }
    findings, types = infer_types(flow)
    assert types.output == TEXT
    assert [finding[:3] for finding in findings] == [("error", "type_misfit", "/output")]


def test_types_that_double_with_every_step_stay_small() -> None:
    steps: list[Any] = [{"id": "s0", "component": "/any", "input": {"x": 1, "y": {"$input": "a"}}}]
    for index in range(1, 60):
        twice = {key: {"$step": f"s{index - 1}"} for key in ("left", "right")}
        steps.append({"id": f"s{index}", "component": "/any", "input": twice})
    started = time.process_time()
    _, types = infer_types({"steps": steps, "output": {"$step": "s59"}}, lambda component, input: input)
    assert len(types.steps) == 60
    assert time.process_time() - started < 20, "it would take the age of the universe"


def test_of_very_many_steps_the_last_are_unknown() -> None:
    steps = [{"id": f"s{index}", "component": "/any"} for index in range(MAX_TYPED_STEPS + 5)]
    _, types = infer_types({"steps": steps, "output": 1}, lambda component, input: TEXT)
    assert types.steps[MAX_TYPED_STEPS - 1].output == TEXT
    assert types.steps[MAX_TYPED_STEPS].output == {}
