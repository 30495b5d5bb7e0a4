"""The Python code of a flow builds that flow: the same content, hence the same id."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from component_sdk import FlowBuilder
from component_sdk.flow_file import load_flow
from stepflow_runtime.model.builder_code import MAX_WRITTEN_DEPTH, write_builder_code
from stepflow_runtime.model.canonical import canonical_json
from stepflow_runtime.model.python_code import WIDTH

EXAMPLES = sorted(Path("examples").rglob("*.yaml"))


def build(code: str) -> Any:
    namespace: dict[str, Any] = {"__name__": "flow_in_python"}
    exec(compile(code, "flow.py", "exec"), namespace)
    flow: FlowBuilder = namespace["flow"]
    return flow.build()


def returns(flow: Any) -> str:
    """Has a flow go there and back; gives the code."""
    code = write_builder_code(flow, "flow.yaml")
    assert canonical_json(build(code)) == canonical_json(flow)
    return code


@pytest.mark.parametrize("path", EXAMPLES, ids=str)
def test_every_example_comes_back_from_its_code(path: Path) -> None:
    code = returns(load_flow(path))
    assert all(len(line) <= WIDTH for line in code.splitlines())


Strategy: TypeAlias = st.SearchStrategy[Any]


def record(required: dict[str, Any], **optional: Strategy) -> Strategy:
    return st.fixed_dictionaries(required, optional=optional)


def nest(inner: Strategy) -> Strategy:
    lists: Strategy = st.lists(inner, max_size=3)
    return st.one_of(
        lists,
        st.dictionaries(texts | keys, inner, max_size=3),
        record({"$if": inner, "then": inner}, **{"else": inner}),
        record({"$coalesce": lists}),
    )


keys: Strategy = st.sampled_from(["a", "b", "then", "else", "$step", "$input", "$literal", "$if", "$coalesce"])
texts: Strategy = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names: Strategy = st.sampled_from(["a", "b c", "flow", "class", "1", "ä", "a_b", "a-b", "print", "__name__"]) | texts
paths: Strategy = st.sampled_from(["$", "$.a", "a", "$.a.b", "$.a[0]", "$[0]", '$["a b"]', "$['a'].b", "$.ä"]) | texts
scalars: Strategy = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False), texts
)
data: Strategy = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts | keys, inner, max_size=3),
    max_leaves=6,
)
references: Strategy = st.one_of(
    record({"$step": names}, path=paths | st.none(), more=data),
    record({"$input": paths}, more=data),
    record({"$variable": paths}, default=data),
    record({"$literal": data}, more=data),
)
expressions: Strategy = st.recursive(references | scalars, nest, max_leaves=8)
on_errors: Strategy = st.one_of(
    record({"action": st.just("useDefault")}, defaultValue=data, default_value=data),
    record({"action": st.just("retry")}, maxRetries=st.integers(0, 9) | st.none(), backoff=data, max_retries=data),
    st.just({"action": "fail"}),
    st.none(),
)
steps: Strategy = record(
    {"id": names.filter(bool), "component": st.just("/python/x") | texts},
    input=expressions,
    onError=on_errors,
    on_error=on_errors,
    mustExecute=st.booleans() | st.none(),
    timeoutMs=st.integers(1, 10**15) | st.none(),
    metadata=data,
    unknown=data,
)
flows: Strategy = record(
    {"steps": st.lists(steps, max_size=4, unique_by=lambda step: step["id"]), "output": expressions},
    name=texts | st.none(),
    description=texts | st.none(),
    version=texts,
    schemas=data,
    metadata=data,
    inputSchema=data,
    test=data,
)


@given(flows)
def test_every_flow_comes_back_from_its_code(flow: dict[str, Any]) -> None:
    returns(flow)


def test_a_path_that_is_null_stays_one() -> None:
    returns({"steps": [{"id": "a", "component": "/python/x"}], "output": {"$step": "a", "path": None}})


def test_references_are_written_by_indexing_where_that_gives_the_same_path() -> None:
    code = returns(
        {
            "name": "n",
            "steps": [{"id": "one", "component": "/x", "input": {"$input": "rows"}}],
            "output": [
                {"$step": "one", "path": "$.a[0].b"},
                {"$step": "one", "path": "$.a"},
                {"$variable": "mode", "default": {"$input": "$"}},
                {"$if": {"$step": "one"}, "then": 1},
            ],
        }
    )
    assert 'one = flow.step("one", "/x", input=flow.input["rows"])' in code
    assert 'one["a"][0]["b"], one.at("$.a"), flow.variable("mode", default=flow.input), if_(one, 1)' in code
    assert "from component_sdk.flow import if_\n" in code


def test_what_nests_more_deeply_than_python_can_read_is_written_as_json() -> None:
    deep: Any = "bottom"
    for _ in range(MAX_WRITTEN_DEPTH * 8):
        deep = [deep]
    assert "json.loads(" in returns({"steps": [], "output": {"$literal": deep}})


@pytest.mark.parametrize("flow", [{"output": 1}, {"steps": None, "output": 1}, {"steps": []}])
def test_a_flow_without_steps_or_output_is_refused_with_what_to_write(flow: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"write `(steps: \[\]|output: null)`"):
        write_builder_code(flow, "flow.yaml")
