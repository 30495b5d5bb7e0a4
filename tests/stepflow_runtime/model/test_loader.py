"""Files of people: what they mean, and where they are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.model.loader import load_document
from stepflow_runtime.model.validate import validate


def refusal(text: str | bytes, source: str = "flow.yaml") -> RpcError:
    with pytest.raises(RpcError) as caught:
        load_document(text, source)
    assert caught.value.code == ErrorCode.VALIDATION_FAILED
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("a:", {"a": None}),
        ("[true, false, True, null]", [True, False, True, None]),
        ("[no, on, yes, Off, y]", ["no", "on", "yes", "Off", "y"]),
        ("[2026-01-01, 12:30:45]", ["2026-01-01", "12:30:45"]),
        ("[1, -2, 0, 1.10, 1e3, -0.5E-2]", [1, -2, 0, 1.1, 1000.0, -0.005]),
        (
            "[010, 0x1F, 1_000, +1, .5, 1., .inf, .nan, =]",
            ["010", "0x1F", "1_000", "+1", ".5", "1.", ".inf", ".nan", "="],
        ),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("{1: a, true: b}", {"1": "a", "true": "b"}),
        ("'1'", "1"),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("!!str 1", "1"),
        ("a: &x [1]\nb: *x\n", {"a": [1], "b": [1]}),
        ('{"a": {"$step": "b"}}', {"a": {"$step": "b"}}),
    ],
)
def test_yaml_is_read_with_the_types_of_json(text: str, value: Any) -> None:
    assert load_document(text).value == value
    assert load_document(text.encode()).value == value


def test_aliased_values_are_not_shared() -> None:
    value = load_document("a: &x [1]\nb: *x\n").value
    value["a"].append(2)
    assert value["b"] == [1]


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "flow.yaml:4:3", "'c' occurs twice"),
        ("a: 1\n'a': 2\n", "flow.yaml:2:1", "'a' occurs twice"),
        ("a: [1\n", "flow.yaml:1:4", "not YAML"),
        ("a: !python/object:os.system x\n", "flow.yaml:1:4", "!python/object:os.system"),
        ("a: !!binary aGk=\n", "flow.yaml:1:4", "!!binary"),
        ("a: !!set {x}\n", "flow.yaml:1:4", "!!set"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "flow.yaml:3:3", "merge key"),
        ("a: &x [*x]\n", "flow.yaml:1:4", "part of"),
        ("a: *x\n", "flow.yaml:1:4", "alias"),
        ("[a]: 1\n", "flow.yaml:1:1", "key must be a string"),
        ("a: 1e999\n", "flow.yaml:1:4", "cannot be held"),
        ("a: !!int x\n", "flow.yaml:1:4", "cannot be held"),
        ("a: 1\n---\nb: 1\n", "flow.yaml:2:1", "not YAML"),
        ("[" * 100_000, "flow.yaml:1:201", "deeper than 200"),
    ],
)
def test_what_is_refused_is_refused_with_its_place(text: str, place: str, message: str) -> None:
    error = refusal(text)
    assert error.message.startswith(place + ": ")
    assert message in error.message
    assert place == f"flow.yaml:{error.data['line']}:{error.data['column']}"


@pytest.mark.parametrize("levels", [6, 9, 50])
def test_aliases_have_a_budget(levels: int) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    assert "1000000 values" in refusal("\n".join(lines)).message


def test_a_file_that_is_not_utf_8_is_refused_with_its_place() -> None:
    assert refusal(b"a: 1\nb: \xff").message.startswith("flow.yaml:2:4: ")
    assert load_document(b"\xef\xbb\xbfa: 1").value == {"a": 1}
    assert refusal("a: \x00").message.startswith("flow.yaml: ")


def test_json_is_read_as_json() -> None:
    assert load_document('{"a":\t1.10, "b": "no"}', "flow.json").value == {"a": 1.1, "b": "no"}


@pytest.mark.parametrize(
    ("text", "place"),
    [('{"a": 1,\n "é": 2,\n "a": 3}', "flow.json:3:2: "), ('{"a": 1,\n}', "flow.json:2:1: "), ("{", "flow.json: ")],
)
def test_bad_json_is_refused_with_its_place(text: str, place: str) -> None:
    assert refusal(text, "flow.json").message.startswith(place)


def test_a_finding_is_located_in_the_file() -> None:
    text = "steps:\n- id: a\n  component: /a\n  input: {$step: b}\noutput:\n  - $step: a\n"
    document = load_document(text)
    assert document.locate(validate(document.value)[0].path) == "flow.yaml:4:18"
    assert document.locate("/output/0") == "flow.yaml:6:5"
    assert document.locate("/output/7/x") == "flow.yaml:6:3"
    assert document.locate("") == "flow.yaml:1:1"
    assert load_document("").locate("/a") == "flow.yaml"


PUBLISHED = """
schema: https://stepflow.org/schemas/v1/flow.json
name: Classify and answer
description: A flow in the published edge syntax
version: "1.0"
schemas:
  type: object
  properties:
    input:
      type: object
      properties: {question: {type: string}, verbose: {type: boolean}}
      required: [question]
    variables:
      type: object
      properties:
        temperature: {type: number, default: 0.7}
    steps: {}
steps:
  - id: create_messages
    component: /builtin/create_messages
    input:
      user_prompt: {$input: question}
      system_instructions: {$literal: "Answer { $step: x } briefly."}
  - id: classify
    component: /python/classify
    onError: {action: useDefault, defaultValue: {label: other, score: 0}}
    input: {$step: create_messages, path: $.messages}
  - id: answer
    component: /builtin/openai
    onError: {action: retry, maxRetries: 2, backoff: {type: fibonacci, minDelayMs: 100, maxDelayMs: 1000}}
    input:
      messages: {$step: create_messages, path: messages}
      temperature: {$variable: temperature, default: 1.0}
      style:
        $if: {$input: verbose}
        then: long
        else: short
  - id: log
    component: /python/log
    mustExecute: true
    input: {label: {$step: classify, path: "$.label"}}
output:
  answer: {$coalesce: [{$step: answer, path: "$.choices[0].text"}, none]}
  label: {$step: classify, path: '$["label"]'}
metadata: {owner: team}
examples:
  - name: simple
    input: {question: Why?}
test:
  cases: []
"""


def test_a_published_flow_file_loads_as_it_is() -> None:
    assert validate(load_document(PUBLISHED).value) == []
