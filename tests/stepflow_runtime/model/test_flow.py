"""What is read of a flow, however it is spelled."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.flow import Backoff, BackoffKind, ErrorAction, Flow, OnError, Step, parse_flow, read_flow

STEP = {"id": "a", "component": "/python/a"}


def read_step(**fields: Any) -> Step:
    return parse_flow({"steps": [{**STEP, **fields}]}).steps[0]


def findings_of(value: Any) -> list[tuple[str, str, str]]:
    findings = Findings()
    read_flow(value, findings)
    return [(finding.severity.value, finding.code, finding.path) for finding in findings]


def test_an_empty_flow_is_a_flow() -> None:
    assert parse_flow({}) == Flow()
    assert parse_flow({"name": None, "steps": None, "output": None, "schemas": None}) == Flow()


def test_a_step_has_defaults() -> None:
    step = read_step()
    assert step == Step(id="a", component="/python/a", pointer="/steps/0")
    assert step.on_error.action is ErrorAction.FAIL


@pytest.mark.parametrize(
    "fields",
    [
        {"onError": {"action": "useDefault", "defaultValue": [1]}, "mustExecute": True, "timeoutMs": 5},
        {"on_error": {"action": "use_default", "default_value": [1]}, "must_execute": True, "timeout_ms": 5},
    ],
)
def test_both_spellings_are_read(fields: dict[str, Any]) -> None:
    step = read_step(**fields)
    assert step.on_error == OnError(ErrorAction.USE_DEFAULT, [1])
    assert (step.must_execute, step.timeout_ms) == (True, 5)


def test_null_in_an_optional_field_means_absent() -> None:
    assert read_step(onError=None, mustExecute=None, timeoutMs=None, metadata=None) == read_step()
    assert read_step(onError={"action": "retry", "maxRetries": None}).on_error == OnError(ErrorAction.RETRY)


def test_a_retry_has_a_budget_and_a_backoff() -> None:
    assert read_step(onError={"action": "retry"}).on_error == OnError(ErrorAction.RETRY, max_retries=3)
    backoff = {"type": "exponential", "minDelayMs": 10, "max_delay_ms": 90, "factor": 3}
    on_error = read_step(onError={"action": "retry", "maxRetries": 0, "backoff": backoff}).on_error
    assert on_error.max_retries == 0
    assert on_error.backoff == Backoff(BackoffKind.EXPONENTIAL, 10, 90, 3.0)
    constant = read_step(onError={"backoff": {"type": "constant", "delayMs": 20_000}}).on_error.backoff
    assert constant == Backoff(BackoffKind.CONSTANT, 20_000, 20_000)


def test_schemas_are_read_from_where_they_may_stand() -> None:
    flow = parse_flow({"schemas": {"type": "object", "properties": {"input": {"type": "string"}, "variables": {}}}})
    assert (flow.input_schema, flow.output_schema, flow.variables_schema) == ({"type": "string"}, UNSET, {})
    for spelling in ({"input_schema": {}, "output_schema": True}, {"inputSchema": {}, "outputSchema": True}):
        flow = parse_flow(spelling)
        assert (flow.input_schema, flow.output_schema) == ({}, True)


def test_shared_definitions_come_with_each_schema() -> None:
    row = {"type": "integer"}
    flow = parse_flow({"schemas": {"$defs": {"row": row}, "properties": {"input": {"$ref": "#/$defs/row"}}}})
    assert flow.input_schema == {"$defs": {"row": row}, "$ref": "#/$defs/row"}


@pytest.mark.parametrize(
    ("value", "finding"),
    [
        ([], ("error", "bad_flow", "")),
        ({"steps": {}}, ("error", "bad_steps", "/steps")),
        ({"steps": [1]}, ("error", "bad_step", "/steps/0")),
        ({"steps": [{"component": "/a"}]}, ("error", "empty_step_id", "/steps/0")),
        ({"steps": [{"id": "", "component": "/a"}]}, ("error", "empty_step_id", "/steps/0/id")),
        ({"steps": [{"id": "a"}]}, ("error", "bad_component", "/steps/0")),
        ({"name": 1}, ("error", "bad_field", "/name")),
        ({"steps": [{**STEP, "must_execute": "yes"}]}, ("error", "bad_field", "/steps/0/must_execute")),
        ({"steps": [{**STEP, "timeoutMs": 0}]}, ("error", "bad_field", "/steps/0/timeoutMs")),
        ({"steps": [{**STEP, "timeoutMs": True}]}, ("error", "bad_field", "/steps/0/timeoutMs")),
        ({"steps": [{**STEP, "onError": "fail"}]}, ("error", "bad_field", "/steps/0/onError")),
        ({"steps": [{**STEP, "onError": {"action": "skip"}}]}, ("error", "bad_on_error", "/steps/0/onError/action")),
        (
            {"steps": [{**STEP, "onError": {"maxRetries": -1}}]},
            ("error", "bad_on_error", "/steps/0/onError/maxRetries"),
        ),
        ({"steps": [{**STEP, "onError": {"backoff": 1}}]}, ("error", "bad_backoff", "/steps/0/onError/backoff")),
        (
            {"steps": [{**STEP, "onError": {"backoff": {"factor": 0}}}]},
            ("error", "bad_backoff", "/steps/0/onError/backoff/factor"),
        ),
        ({"steps": [{**STEP, "onError": {}, "on_error": {}}]}, ("error", "bad_field", "/steps/0/on_error")),
        ({"ouptut": 1}, ("warning", "unknown_field", "/ouptut")),
        ({"steps": [{**STEP, "skipIf": {}}]}, ("warning", "unknown_field", "/steps/0/skipIf")),
    ],
)
def test_what_is_wrong_is_reported_where_it_lies(value: Any, finding: tuple[str, str, str]) -> None:
    assert findings_of(value) == [finding]


def test_a_misspelt_field_gets_a_hint() -> None:
    findings = Findings()
    read_flow({"ouptut": 1}, findings)
    assert "did you mean 'output'" in findings[0].message


def test_a_value_without_the_shape_of_a_flow_is_refused_with_all_issues() -> None:
    with pytest.raises(RpcError) as caught:
        parse_flow({"steps": [1, {}]})
    assert caught.value.code == ErrorCode.VALIDATION_FAILED
    assert [issue["code"] for issue in caught.value.data["issues"]] == ["bad_step", "empty_step_id", "bad_component"]
