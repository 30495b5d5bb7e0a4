from __future__ import annotations

from typing import Any

import pytest

from stepflow_runtime.connect.answers import AnswerQueue
from stepflow_runtime.connect.mock import MockPlugin, read_behaviors
from stepflow_runtime.model.outcome import Answer, Failure
from tests.stepflow_runtime.connect.connect_kit import NotingSink, execution


async def answer(behaviors: Any, input: str) -> Answer:
    answers, sink = AnswerQueue(), NotingSink()
    answers.report_to(sink)
    plugin = MockPlugin("mock", {"/one": read_behaviors("/one", behaviors)}, answers)
    asked = execution("/mock/one", input)
    plugin.call(asked, "/one")
    assert not sink.answers, "never within the call"
    answers.deliver()
    return sink.answers[asked]


def success(value: Any) -> dict[str, Any]:
    return {"outcome": "success", "value": value}


async def test_inputs_are_compared_as_json_values() -> None:
    behaviors = [{"input": {"a": 1, "b": [True]}, "result": success("yes")}]
    assert await answer(behaviors, '{ "b": [true], "a": 1.0 }') == b'"yes"'


async def test_true_is_not_one() -> None:
    outcome = await answer([{"input": 1, "result": success(0)}], "true")
    assert isinstance(outcome, Failure)


async def test_behaviors_may_be_a_mapping_from_json_to_result() -> None:
    assert await answer({'{"a": 1}': {"outcome": "success", "result": 7}}, '{"a":1}') == b"7"


async def test_a_key_that_is_no_json_is_a_string() -> None:
    assert await answer({"hello": success(7)}, '"hello"') == b"7"


async def test_a_result_may_be_a_failure() -> None:
    error = {"code": "INVALID_INPUT", "message": "no", "data": {"x": 1}}
    assert await answer([{"input": 1, "result": {"outcome": "failed", "error": error}}], "1") == Failure(
        "INVALID_INPUT", "no", {"x": 1}
    )


async def test_an_input_without_behavior_is_a_component_failure_that_says_so() -> None:
    outcome = await answer([], "3")
    assert isinstance(outcome, Failure)
    assert outcome.code == "COMPONENT_FAILED"
    assert "no behavior for the input 3" in outcome.message


@pytest.mark.parametrize("behaviors", [None, "x", [{"input": 1}], [{"input": 1, "result": {"outcome": "maybe"}}]])
def test_behaviors_that_cannot_be_read_are_refused(behaviors: Any) -> None:
    with pytest.raises(ValueError, match="mock component"):
        read_behaviors("/one", behaviors)
