"""Findings about a flow as a whole: the code and the place of each, and what is only a warning."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.types import ComponentInfo
from stepflow_runtime.model.validate import validate


def step(step_id: str, input: Any = None, **fields: Any) -> dict[str, Any]:
    return {"id": step_id, "component": "/c", "input": input, **fields}


def ref(step_id: str) -> dict[str, str]:
    return {"$step": step_id}


def flow(*steps: Any, output: Any = None, **fields: Any) -> dict[str, Any]:
    return {"steps": list(steps), "output": output, **fields}


def found(value: Any, **options: Any) -> list[tuple[str, str, str]]:
    return [(finding.severity.value, finding.code, finding.path) for finding in validate(value, **options)]


def test_nothing_is_wrong_with_a_good_flow() -> None:
    assert found(flow(step("a", {"$input": "$"}), step("b", ref("a")), output=ref("b"))) == []


@pytest.mark.parametrize(
    ("value", "finding"),
    [
        (flow(step("a"), step("a"), output=ref("a")), ("error", "duplicate_step_id", "/steps/1/id")),
        (flow(step("alpha"), output=[ref("alpha"), ref("alhpa")]), ("error", "unknown_step", "/output/1/$step")),
        (flow(step("a", {"x": [ref("z")]}), output=ref("a")), ("error", "unknown_step", "/steps/0/input/x/0/$step")),
        (flow(step("a", ref("a")), output=ref("a")), ("error", "cycle", "/steps/0/input/$step")),
        (flow(step("a", {"$input": "$x"}), output=ref("a")), ("error", "bad_path", "/steps/0/input/$input")),
        (flow(output={"$if": 1}), ("error", "bad_expression", "/output")),
        (flow(step("a"), output=1), ("warning", "unreachable_step", "/steps/0")),
        (
            flow(schemas={"properties": {"input": {"type": "nonsense"}}}),
            ("error", "bad_schema", "/schemas/properties/input/type"),
        ),
        (
            flow(schemas={"properties": {"variables": {"$ref": "http://127.0.0.1:9/x"}}}),
            ("error", "bad_schema", "/schemas/properties/variables"),
        ),
    ],
)
def test_each_finding_has_a_code_and_a_place(value: Any, finding: tuple[str, str, str]) -> None:
    assert found(value) == [finding]


def test_an_unknown_step_gets_a_hint() -> None:
    (finding,) = validate(flow(step("alpha"), output=[ref("alpha"), ref("alhpa")]))
    assert finding.message == "There is no step 'alhpa'; did you mean 'alpha'?"


def test_a_cycle_is_spelled_out() -> None:
    cyclic = flow(step("z", ref("a")), step("a", {"$if": ref("b"), "then": 1}), step("b", ref("a")), output=ref("z"))
    (finding,) = validate(cyclic)
    assert finding.message == "These steps wait for each other: a -> b -> a; take one of the references out."


def test_a_must_execute_step_and_what_it_needs_are_reachable() -> None:
    assert found(flow(step("a"), step("b", ref("a"), mustExecute=True), output=1)) == []


def test_all_findings_come_at_once() -> None:
    codes = [code for _, code, _ in found({"steps": [1, {"id": ""}], "output": {"$step": "x", "y": 1}, "z": 1})]
    expected = {"bad_step", "empty_step_id", "bad_component", "ignored_key", "unknown_step", "unknown_field"}
    assert set(codes) == expected


SCHEMA = {
    "type": "object",
    "properties": {"n": {"$ref": "#/$defs/count"}, "text": {"type": "string"}},
    "required": ["n"],
    "$defs": {"count": {"type": "integer"}},
}


@pytest.mark.parametrize(
    ("input", "places"),
    [
        ({"n": 1}, []),
        ({"n": "x", "text": 1}, ["/steps/0/input/n", "/steps/0/input/text"]),
        ([], ["/steps/0/input"]),
        ({"text": {"$input": "t"}}, ["/steps/0/input"]),
        ({"n": "x", "text": {"$input": "t"}}, ["/steps/0/input/n"]),
        ({"n": {"$input": "n"}, "text": {"$literal": 5}}, ["/steps/0/input/text"]),
        ({"$input": "$"}, []),
    ],
)
def test_an_input_that_cannot_fit_its_component_is_a_warning(input: Any, places: list[str]) -> None:
    value = flow(step("a", input), output=ref("a"))
    findings = found(value, components=lambda name: ComponentInfo(name, input_schema=SCHEMA))
    assert findings == [("warning", "input_misfit", place) for place in places]


def test_an_unknown_component_is_a_warning() -> None:
    findings = found(flow(step("a"), output=ref("a")), components=lambda name: None)
    assert findings == [("warning", "unknown_component", "/steps/0/component")]


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"required": 1, "properties": []}, True, None, 5])
def test_an_odd_schema_of_a_component_is_none_of_the_flows_fault(schema: Any) -> None:
    value = flow(step("a", {"x": {"$input": "x"}}), step("b", 1), output=[ref("a"), ref("b")])
    assert found(value, components=lambda name: ComponentInfo(name, input_schema=schema)) == []


@pytest.mark.parametrize("value", [None, 1, "x", [], {"steps": None}, {"steps": [{"id": 1, "component": []}]}])
def test_no_json_makes_validation_fail_itself(value: Any) -> None:
    validate(value, components=lambda name: None)
