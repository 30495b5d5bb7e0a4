"""What a submission may change in a flow's steps."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.model.flow import parse_flow
from stepflow_runtime.model.override import apply_overrides

FLOW = {
    "name": "f",
    "steps": [
        {"id": "first", "component": "/a", "input": {"x": 1, "y": 2}, "on_error": {"action": "fail"}, "note": 1},
        {"id": "second", "component": "/b", "input": {"$step": "first"}},
    ],
    "output": {"$step": "second"},
}


def override(step_id: str, value: Any, **fields: Any) -> dict[str, Any]:
    return {"steps": {step_id: {**fields, "value": value}}}


def refusal(overrides: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        apply_overrides(FLOW, overrides)
    return caught.value


def test_nothing_changes_without_overrides() -> None:
    nothing: list[Any] = [None, {}, {"steps": {}}]
    for overrides in nothing:
        assert apply_overrides(FLOW, overrides) is FLOW


@pytest.mark.parametrize("fields", [{}, {"$type": "merge_patch"}])
def test_a_merge_patch_changes_the_fields_it_names(fields: dict[str, Any]) -> None:
    before = copy.deepcopy(FLOW)
    patch = {"component": "/mock", "input": {"x": None, "z": 3}, "timeoutMs": 5}
    changed = apply_overrides(FLOW, override("first", patch, **fields))
    step = changed["steps"][0]
    assert (step["component"], step["input"], step["timeoutMs"], step["note"]) == ("/mock", {"y": 2, "z": 3}, 5, 1)
    assert changed["steps"][1] == FLOW["steps"][1]  # type: ignore[index]
    assert before == FLOW


@pytest.mark.parametrize("key", ["onError", "on_error"])
def test_either_spelling_of_a_field_replaces_the_other(key: str) -> None:
    changed = apply_overrides(FLOW, override("first", {key: {"action": "retry"}}))
    assert parse_flow(changed).steps[0].on_error.action == "retry"


def test_fields_of_on_error_are_merged_however_they_are_spelled() -> None:
    first = {"onError": {"action": "retry", "maxRetries": 1, "backoff": {"minDelayMs": 1}}}
    second = {"on_error": {"max_retries": 2, "backoff": {"min_delay_ms": 2}}}
    changed = apply_overrides(apply_overrides(FLOW, override("first", first)), override("first", second))
    assert changed["steps"][0]["onError"] == {"action": "retry", "maxRetries": 2, "backoff": {"minDelayMs": 2}}


def test_a_json_patch_is_applied_to_the_step() -> None:
    operations = [{"op": "test", "path": "/input/x", "value": 1.0}, {"op": "replace", "path": "/input/x", "value": 9}]
    changed = apply_overrides(FLOW, override("first", operations, **{"$type": "json_patch"}))
    assert changed["steps"][0]["input"] == {"x": 9, "y": 2}


def test_an_unknown_step_is_refused() -> None:
    error = refusal(override("frist", {}))
    assert error.code == ErrorCode.VALIDATION_FAILED
    assert error.data["issues"] == [
        {
            "code": "unknown_step",
            "path": "/overrides/steps/frist",
            "message": "The flow has no step 'frist'; did you mean 'first'?",
        }
    ]


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        (override("first", {"input": {"$step": "second"}}), "cycle"),
        (override("first", {"id": "other"}), "unknown_step"),
        (override("first", {"component": None}), "bad_component"),
        (override("first", [{"op": "remove", "path": "/nothing"}], **{"$type": "json_patch"}), "bad_patch"),
        (override("first", [{"op": "replace", "path": "", "value": 1}], **{"$type": "json_patch"}), "bad_step"),
        (override("first", 5), "bad_patch"),
    ],
)
def test_a_patch_that_makes_the_flow_invalid_is_refused(overrides: Any, code: str) -> None:
    error = refusal(overrides)
    assert error.code == ErrorCode.VALIDATION_FAILED
    assert error.data["issues"][0]["code"] == code


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        (override("first", {"input": {"a": [{"$step": "nowhere"}]}}), "/overrides/steps/first/value/input/a/0/$step"),
        (override("first", {"on_error": {"action": "rtry"}}), "/overrides/steps/first/value/onError/action"),
        (override("first", {"component": None}), "/overrides/steps/first/value"),
        (override("second", {"id": "other"}), "/output/$step"),
        (override("first", 5), "/overrides/steps/first/value"),
        (
            override("first", [{"op": "add", "path": "/input/a", "value": {"$step": 5}}], **{"$type": "json_patch"}),
            "/overrides/steps/first/value/0/value/$step",
        ),
        (
            override("first", [{"op": "test", "path": "/note", "value": 2}], **{"$type": "json_patch"}),
            "/overrides/steps/first/value/0",
        ),
    ],
)
def test_an_issue_names_its_place_in_the_overrides_or_in_the_flow(overrides: Any, place: str) -> None:
    assert refusal(overrides).data["issues"][0]["path"] == place


@pytest.mark.parametrize(
    "overrides",
    [[], {"first": {"value": {}}}, {"steps": []}, {"steps": {"first": {}}}, override("first", {}, **{"$type": "sed"})],
)
def test_overrides_of_another_shape_are_refused(overrides: Any) -> None:
    assert refusal(overrides).code == ErrorCode.INVALID_PARAMS
