"""What each expression means, line by line of the table in FLOWS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ItemErrorCode
from stepflow_runtime.model.canonical import canonical_json
from stepflow_runtime.model.expression import Evaluated, Expression
from stepflow_runtime.model.expression_syntax import MAX_EXPRESSION_DEPTH, compile_expression
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.outcome import Failure, Outcome

BOOM = Failure(ItemErrorCode.COMPONENT_FAILED, "boom")


class Item:
    def __init__(
        self,
        input: bytes = b"null",
        outcomes: Mapping[str, Outcome] | None = None,
        variables: Mapping[str, bytes] | None = None,
    ) -> None:
        self.input = input
        self.variables = variables or {}
        self.outcomes = outcomes or {}


def compiled(value: Any) -> Expression:
    findings = Findings()
    expression = compile_expression(value, "", findings)
    findings.refuse_errors()
    return expression


def evaluate(value: Any, item: Item | None = None) -> Evaluated:
    return compiled(value).evaluate(item or Item())


def fails(value: Any, item: Item | None = None) -> str:
    outcome = evaluate(value, item)
    assert isinstance(outcome, Failure)
    assert outcome.code == "EXPRESSION_FAILURE"
    return outcome.message


def test_all_of_the_input_is_the_very_input() -> None:
    raw = b' {"a" : 1.10}'
    assert evaluate({"$input": "$"}, Item(raw)) is raw


@pytest.mark.parametrize("digits", [b"1.10", b"1e5", b"123456789012345678901234567890", b'"\\u00e9"'])
def test_numbers_and_texts_pass_through_digit_for_digit(digits: bytes) -> None:
    item = Item(b'{"a.b": ' + digits + b"}", {"s": b"[" + digits + b"]"}, {"v": digits})
    assert evaluate({"$input": "a.b"}, item) == digits
    assert evaluate({"$input": '$["a.b"]'}, item) == digits
    assert evaluate({"x": [{"$step": "s", "path": "$[0]"}]}, item) == b'{"x":[' + digits + b"]}"
    assert evaluate({"$variable": "v"}, item) == digits


def test_a_missing_path_into_the_input_fails() -> None:
    assert "$.a" in fails({"$input": "a"}, Item(b"{}"))
    assert "$.a" in fails({"$input": "$.a"}, Item(b"null"))


def test_all_of_a_steps_output_is_the_very_output() -> None:
    raw = b"[1.10]"
    assert evaluate({"$step": "s"}, Item(outcomes={"s": raw})) is raw
    assert evaluate({"$step": "s", "path": None}, Item(outcomes={"s": raw})) is raw


def test_a_path_into_a_null_output_is_null_but_a_missing_one_fails() -> None:
    reference = {"$step": "s", "path": "$.a.b"}
    assert evaluate(reference, Item(outcomes={"s": b"null"})) == b"null"
    assert "$.a.b" in fails(reference, Item(outcomes={"s": b'{"a":{}}'}))
    assert "'s'" in fails(reference, Item(outcomes={"s": b'{"a":null}'}))


def test_a_failed_step_gives_its_own_failure() -> None:
    assert evaluate({"x": [{"$step": "s", "path": "a"}]}, Item(outcomes={"s": BOOM})) is BOOM


def test_a_step_that_has_not_ended_is_needed() -> None:
    assert evaluate({"$step": "s"}) == ("s",)


def test_an_object_needs_all_its_steps_at_once() -> None:
    value = {"b": {"$step": "t"}, "a": [{"$step": "s"}, {"$step": "u"}, {"$step": "s"}]}
    assert evaluate(value, Item(outcomes={"u": b"1"})) == ("s", "t")


def test_an_object_fails_without_waiting_for_the_rest() -> None:
    assert evaluate([{"$step": "s"}, {"$step": "t"}], Item(outcomes={"t": BOOM})) is BOOM


def test_the_first_segment_of_a_variables_path_is_its_name() -> None:
    item = Item(variables={"v": b'{"a":[1.10]}', "v.a": b"2"})
    assert evaluate({"$variable": "$.v.a[0]"}, item) == b"1.10"
    assert evaluate({"$variable": "v.a"}, item) == b"2"


def test_the_default_of_a_variable_is_an_expression() -> None:
    assert evaluate({"$variable": "v", "default": {"$input": "a"}}, Item(b'{"a":1.10}')) == b"1.10"
    assert evaluate({"$variable": "v", "default": {"$step": "s"}}) == ("s",)
    assert evaluate({"$variable": "v", "default": None}) == b"null"
    assert evaluate({"$variable": "v", "default": 1}, Item(variables={"v": b"null"})) == b"null"
    assert evaluate({"$variable": "$.v.a", "default": 1}, Item(variables={"v": b"{}"})) == b"1"


def test_a_variable_without_value_or_default_fails() -> None:
    assert "'v'" in fails({"$variable": "v"})
    assert "$.a" in fails({"$variable": "$.v.a"}, Item(variables={"v": b"{}"}))


def test_a_literal_stands_unread() -> None:
    assert evaluate({"$literal": {"$step": "s", "x": [{"$input": 1}]}}) == b'{"$step":"s","x":[{"$input":1}]}'


@pytest.mark.parametrize("condition", [b"null", b"false"])
def test_null_and_false_are_false(condition: bytes) -> None:
    assert evaluate({"$if": {"$input": "$"}, "then": 1, "else": 2}, Item(condition)) == b"2"
    assert evaluate({"$if": {"$input": "$"}, "then": 1}, Item(condition)) == b"null"


@pytest.mark.parametrize("condition", [b"true", b"0", b'""', b"[]", b"{}", b'"false"', b"0.0"])
def test_all_else_is_true(condition: bytes) -> None:
    assert evaluate({"$if": {"$input": "$"}, "then": 1, "else": 2}, Item(condition)) == b"1"


def test_a_failed_condition_is_false() -> None:
    assert evaluate({"$if": {"$input": "a"}, "then": 1, "else": 2}) == b"2"
    assert evaluate({"$if": {"$step": "s"}, "then": 1, "else": 2}, Item(outcomes={"s": BOOM})) == b"2"


def test_an_if_needs_its_condition_first_and_then_only_the_branch_it_takes() -> None:
    value = {"$if": {"$step": "c"}, "then": {"$step": "t"}, "else": {"$step": "e"}}
    assert evaluate(value) == ("c",)
    assert evaluate(value, Item(outcomes={"c": b"true"})) == ("t",)
    assert evaluate(value, Item(outcomes={"c": b"false"})) == ("e",)
    assert evaluate(value, Item(outcomes={"c": b"1", "t": BOOM})) is BOOM


def test_coalesce_is_the_first_that_is_not_null() -> None:
    value = {"$coalesce": [None, {"$step": "a"}, {"$step": "b"}, 3]}
    assert evaluate(value) == ("a",)
    assert evaluate(value, Item(outcomes={"a": b"false"})) == b"false"
    assert evaluate(value, Item(outcomes={"a": b"null"})) == ("b",)
    assert evaluate(value, Item(outcomes={"a": b"null", "b": b"null"})) == b"3"
    assert evaluate({"$coalesce": []}) == b"null"
    assert evaluate({"$coalesce": [None]}) == b"null"


def test_a_failure_in_coalesce_propagates() -> None:
    assert evaluate({"$coalesce": [{"$step": "a"}, 1]}, Item(outcomes={"a": BOOM})) is BOOM
    fails({"$coalesce": [{"$input": "a"}, 1]})


def test_of_several_keys_the_first_by_precedence_counts() -> None:
    value: dict[str, Any] = {
        "$variable": "v",
        "$input": "$",
        "$step": "s",
        "$coalesce": [1],
        "$if": 0,
        "then": 2,
        "$literal": 3,
    }
    item = Item(b"4", {"s": b"5"}, {"v": b"6"})
    for key, expected in [("$literal", b"3"), ("$if", b"2"), ("$coalesce", b"1"), ("$step", b"5"), ("$input", b"4")]:
        assert evaluate(value, item) == expected
        del value[key]
    assert evaluate(value, item) == b"6"


def test_what_data_hold_is_never_read_as_an_expression() -> None:
    raw = b'{"$step":"s","$literal":1}'
    item = Item(raw, {"a": raw}, {"v": raw})
    for value in ({"$input": "$"}, {"$step": "a"}, {"$variable": "v"}, {"$coalesce": [{"$input": "$"}]}):
        assert evaluate(value, item) == raw


constants = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text('ab$é\n"'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('ab$é\n"'), inner, max_size=4),
)


@given(constants)
def test_a_constant_is_its_canonical_json(value: Any) -> None:
    expression = compiled(value)
    assert expression.evaluate(Item()) == canonical_json(value)
    assert expression.references == frozenset()
    assert compiled({"$literal": value}).evaluate(Item()) == canonical_json(value)


@given(constants, st.integers())
def test_a_constant_around_an_expression_stays_as_it_is(value: Any, number: int) -> None:
    raw = str(number).encode()
    expected = canonical_json([value, {"x": number, "y": value, "z": [number, number]}])
    inner = {"$input": "$"}
    assert evaluate([value, {"x": inner, "y": value, "z": [inner, inner]}], Item(raw)) == expected


@pytest.mark.parametrize(
    ("value", "code", "path"),
    [
        ({"a": {"$step": 1}}, "bad_expression", "/x/a/$step"),
        ({"$step": ""}, "bad_expression", "/x/$step"),
        ([{"$step": "s", "path": "$x"}], "bad_path", "/x/0/path"),
        ({"$step": "s", "path": 0}, "bad_path", "/x/path"),
        ({"$input": "$["}, "bad_path", "/x/$input"),
        ({"$input": None}, "bad_path", "/x/$input"),
        ({"$variable": "$"}, "bad_expression", "/x/$variable"),
        ({"$variable": "$[0]"}, "bad_expression", "/x/$variable"),
        ({"$if": True}, "bad_expression", "/x"),
        ({"$if": {"$step": 1}, "then": 1}, "bad_expression", "/x/$if/$step"),
        ({"$coalesce": 1}, "bad_expression", "/x/$coalesce"),
        ({"$coalesce": [1, {"$input": 1}]}, "bad_path", "/x/$coalesce/1/$input"),
        ({"a/b": {"$input": 1}}, "bad_path", "/x/a~1b/$input"),
    ],
)
def test_a_bad_expression_is_reported_where_it_lies(value: Any, code: str, path: str) -> None:
    findings = Findings()
    compile_expression(value, "/x", findings)
    assert [(finding.severity, finding.code, finding.path) for finding in findings] == [("error", code, path)]


@pytest.mark.parametrize(
    ("value", "code"), [({"$step": "s", "paht": "a"}, "ignored_key"), ({"$from": 1}, "unknown_expression")]
)
def test_what_is_probably_a_mistake_is_a_warning(value: Any, code: str) -> None:
    findings = Findings()
    compile_expression(value, "", findings)
    assert [(finding.severity, finding.code) for finding in findings] == [("warning", code)]


def test_expressions_that_nest_too_deeply_are_refused() -> None:
    value: Any = {"$input": "$"}
    for _ in range(MAX_EXPRESSION_DEPTH - 1):
        value = [value]
    assert compiled(value).evaluate(Item(b"1")) == b"[" * 149 + b"1" + b"]" * 149
    findings = Findings()
    compile_expression([value], "", findings)
    assert [finding.code for finding in findings] == ["bad_expression"]
