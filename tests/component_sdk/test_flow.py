"""Flows built in Python are the flows of the YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from component_sdk import FlowBuilder, RpcError, SdkError
from component_sdk.flow import coalesce, if_, literal, retry, use_default, write_path
from component_sdk.flow_file import FlowFileError, is_flow_id, load_flow
from stepflow_runtime.model.canonical import blob_id, canonical_json
from stepflow_runtime.model.loader import load_document

YAML = """
name: double everything
description: Doubles, and says how.
schemas:
  type: object
  properties:
    variables: {type: object, properties: {mode: {type: string}}}
steps:
  - id: double
    component: /python/double
    input: {item: {$input: item}, first: {$input: "$.rows[0]"}, odd: {$input: '$["a b"].c'}}
    onError: {action: retry, maxRetries: 2}
  - id: audit
    component: /python/audit
    input: {$step: double}
    onError: {action: useDefault, defaultValue: {ok: false}}
    mustExecute: true
    timeoutMs: 1500
    metadata: {owner: data}
output:
  x: {$step: double, path: x}
  y: {$step: double, path: "$.a.b"}
  mode: {$variable: mode, default: fast}
  raw: {$literal: {$step: nothing}}
  some: {$coalesce: [{$step: audit, path: ok}, no]}
  either: {$if: {$input: "$"}, then: 1, else: [2, {$input: item}]}
"""


def build() -> dict[str, Any]:
    flow = FlowBuilder(
        "double everything",
        description="Doubles, and says how.",
        schemas={
            "type": "object",
            "properties": {"variables": {"type": "object", "properties": {"mode": {"type": "string"}}}},
        },
    )
    double = flow.step(
        "double",
        "/python/double",
        input={"item": flow.input["item"], "first": flow.input["rows"][0], "odd": flow.input["a b"]["c"]},
        on_error=retry(2),
    )
    audit = flow.step(
        "audit",
        "/python/audit",
        input=double,
        on_error=use_default({"ok": False}),
        must_execute=True,
        timeout_s=1.5,
        metadata={"owner": "data"},
    )
    flow.output(
        {
            "x": double["x"],
            "y": double["a"]["b"],
            "mode": flow.variable("mode", default="fast"),
            "raw": literal({"$step": "nothing"}),
            "some": coalesce(audit["ok"], "no"),
            "either": if_(flow.input, 1, [2, flow.input["item"]]),
        }
    )
    return flow.build()


def test_a_built_flow_equals_its_yaml_and_has_its_id(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(YAML)
    from_yaml = load_flow(path)
    assert build() == from_yaml
    assert blob_id(canonical_json(build())) == blob_id(canonical_json(from_yaml))


def test_flows_are_told_from_ids_and_paths(tmp_path: Path) -> None:
    assert is_flow_id("blake3:" + "0" * 64)
    assert is_flow_id("sha256:abc123")
    assert not is_flow_id("flow.yaml")
    assert not is_flow_id({"steps": []})
    (tmp_path / "flow.json").write_text('{"output": 1}')
    assert load_flow(str(tmp_path / "flow.json")) == {"output": 1}
    assert load_flow({"output": 2}) == {"output": 2}


def test_yaml_has_the_types_of_json(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text("a: no\nb: 2026-01-01\nc: 010\nd: 1e3\ne: ~\nf: true\ng: 0x1F\nh: -0.5\ni: 12\n")
    assert load_flow(path) == {
        "a": "no",
        "b": "2026-01-01",
        "c": "010",
        "d": 1000.0,
        "e": None,
        "f": True,
        "g": "0x1F",
        "h": -0.5,
        "i": 12,
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("flow.yaml", "a: 1\na: 2\n", "the key 'a' occurs twice"),
        ("flow.yaml", "a: {b: 1, b: 2}\n", ":1:11 is not"),
        ("flow.yaml", "a: !!python/object:os.system 1\n", "not YAML with JSON's types"),
        ("flow.yaml", "- 1\n", "is a list; a flow is a mapping"),
        ("flow.json", "{", "is not JSON"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(FlowFileError, match=message) as caught:
        load_flow(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(FlowFileError, match=r"nowhere\.yaml cannot be read"):
        load_flow("nowhere.yaml")


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ((), "$"),
        (("a",), "a"),
        (("a.b c",), "a.b c"),
        (("$a",), '$["$a"]'),
        ((0,), "$[0]"),
        (("a", 0, "b c", "ä"), '$.a[0]["b c"]["ä"]'),
        (("",), '$[""]'),
    ],
)
def test_paths_are_written_in_their_shortest_form(path: tuple[str | int, ...], written: str) -> None:
    from stepflow_runtime.model.path import parse_path

    assert write_path(path) == written
    assert parse_path(written) == path


def test_a_second_step_of_an_id_and_a_flow_without_output_are_refused() -> None:
    flow = FlowBuilder("f")
    flow.step("a", "/x")
    with pytest.raises(SdkError, match="a step 'a' already"):
        flow.step("a", "/x")
    with pytest.raises(SdkError, match="has no output"):
        flow.build()


def test_references_cannot_be_iterated_over() -> None:
    with pytest.raises(TypeError):
        list(FlowBuilder().input)  # type: ignore[call-overload]


def test_a_mistake_in_yaml_has_its_place(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text("steps: []\noutput: {a: [1}\n")
    with pytest.raises(FlowFileError, match=r"flow\.yaml:2:15 is not YAML .*: did not find expected ','"):
        load_flow(tmp_path / "flow.yaml")


@pytest.mark.parametrize(
    "text",
    [
        *["true", "True", "FALSE", "tRue", "yes", "no", "on", "null", "Null", "nULL", "~", "", "'1'", '"true"'],
        *["0", "-1", "01", "+1", "0x1", "1_000", "1.5", "1e3", ".5", "1.", ".inf", "2026-01-01", "12:30"],
        *["{b: [1, {c: }]}", "|-\n  x"],
    ],
)
def test_yaml_is_read_as_the_runtime_reads_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "flow.yaml").write_text(f"a: {text}\n")
    assert load_flow(tmp_path / "flow.yaml") == load_document(f"a: {text}\n").value


@pytest.mark.parametrize(
    "text",
    [
        "1: x",
        "true: x",
        "~: x",
        "<<: {a: 1}",
        "'<<': 1",
        "? [a]\n: 1",
        "a: !!set {x}",
        "a: !!binary aGk=",
        "a: !!str 5",
    ],
)
def test_keys_and_tags_are_read_or_refused_as_by_the_runtime(tmp_path: Path, text: str) -> None:
    (tmp_path / "flow.yaml").write_text(text)
    try:
        expected = load_document(text).value
    except RpcError:
        with pytest.raises(FlowFileError, match="not YAML with JSON's types"):
            load_flow(tmp_path / "flow.yaml")
    else:
        assert load_flow(tmp_path / "flow.yaml") == expected
