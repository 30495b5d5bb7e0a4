"""What is told of an expression holds for all that it can be evaluated to."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import UNSET, Struct

from protocol.flows import Fit
from stepflow_runtime.model.canonical import canonical_json
from stepflow_runtime.model.expression_syntax import compile_expression
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.json_value import is_object
from stepflow_runtime.model.outcome import Failure
from stepflow_runtime.model.path import follow_path
from stepflow_runtime.model.schema import Schema
from stepflow_runtime.model.types.constants import type_of
from stepflow_runtime.model.types.following import follow
from stepflow_runtime.model.types.inference import Scope, infer
from stepflow_runtime.model.types.lattice import UNKNOWN
from stepflow_runtime.model.types.reading import read_schema
from stepflow_runtime.model.types.writing import describe, write_schema
from tests.stepflow_runtime.model.types.values import SCALARS, Strategy, is_usable, list_values, record, told

variables: Strategy = st.sampled_from(["$.v", "v", "$.v.a", "w", "$.v[0]"])
paths: Strategy = st.sampled_from(["$", "a", "b", "$.a.b", "$.a[0]", "$[0]", "$[1]", "$.c"])
references: Strategy = st.one_of(
    record({"$input": paths}),
    record({"$step": st.just("one")}, path=paths),
    record({"$literal": st.sampled_from([*SCALARS, {"$step": "one"}])}),
    st.sampled_from(SCALARS),
)


def nest(inner: Strategy) -> Strategy:
    return st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
        record({"$if": inner, "then": inner}, **{"else": inner}),
        record({"$coalesce": st.lists(inner, max_size=3)}),
        record({"$variable": variables}, default=inner),
        inner.flatmap(lambda part: record({"$if": st.just(part), "then": st.just([part])})),
    )


def relate(parts: list[Any]) -> Strategy:
    """Expressions in which the same parts stand at several places: what one place tells may be taken for another."""
    part: Strategy = st.sampled_from(parts)
    shapes: list[Strategy] = [
        record({"$variable": variables, "default": part}),
        record({"$coalesce": st.lists(part, min_size=1, max_size=3)}),
        record({"$if": part, "then": part, "else": part}),
        record({"$if": part, "then": st.lists(part, min_size=1, max_size=2)}),
        st.dictionaries(st.sampled_from("ab"), part, min_size=1, max_size=2),
    ]
    return st.integers(0, 999).flatmap(lambda number: shapes[number % len(shapes)])


looking: Strategy = st.one_of(
    record({"$step": st.just("one"), "path": paths}),
    record({"$input": paths}),
    record({"$variable": variables}),
)
related: Strategy = st.lists(st.one_of(looking, looking, references), min_size=1, max_size=2).flatmap(relate)
expressions: Strategy = st.one_of(
    related,
    related,
    st.lists(st.one_of(looking, related), min_size=2, max_size=2).flatmap(relate),
    st.recursive(references, nest, max_leaves=5),
)

TRIALS = 60
"""Of one expression, each with other values."""


class World(Struct):
    input: bytes
    outcomes: dict[str, Any]
    variables: dict[str, bytes]


@given(told, told, told, expressions, st.integers(0, 1000))
def test_all_that_an_expression_gives_is_of_its_type_and_what_is_sure_to_fail_does(
    input_schema: Any, output_schema: Any, variable: Any, expression: Any, seed: int
) -> None:
    definitions: Any = variable.get("$defs", {}) if is_object(variable) else {}
    declared: dict[str, Any] = {"type": "object", "properties": {"v": variable}, "$defs": definitions}
    scope = Scope(read_schema(input_schema), read_schema(declared), {"one": read_schema(output_schema)})
    inputs, outputs = list_values(input_schema), list_values(output_schema)
    own = {"$ref": "#/properties/v", **declared}
    assume(inputs and outputs and is_usable(own))
    given_ = [UNSET, *list_values(own)]
    random = Random(seed)
    worlds: list[World] = []
    for _ in range(TRIALS):
        value = random.choice(given_)
        variables = {} if value is UNSET else {"v": canonical_json(value)}
        output = canonical_json(random.choice(outputs))
        worlds.append(World(canonical_json(random.choice(inputs)), {"one": output}, variables))
    check(expression, scope, worlds)


A_STRING: dict[str, Any] = {"type": "string"}


def closed(a: Any, **more: Any) -> dict[str, Any]:
    """An object that has nothing but a field `a`."""
    return {"type": "object", "properties": {"a": a}, "required": ["a"], "additionalProperties": False, **more}


SMALL_SCHEMAS: list[Any] = [
    True,
    A_STRING,
    {"type": ["string", "null"]},
    {"type": ["boolean", "null"]},
    {"const": True},
    closed(A_STRING),
    closed({"type": ["string", "null", "boolean"]}),
    closed(A_STRING, required=[]),
    closed(closed(A_STRING), additionalProperties=True),
    {"anyOf": [closed(A_STRING), {"type": "null"}]},
    {"anyOf": [closed({"enum": [False, 1]}), A_STRING]},
    {"type": "array", "items": {"type": ["string", "null"]}},
]
SMALL_REFERENCES: list[Any] = [
    {"$input": "$"},
    {"$input": "a"},
    {"$step": "one", "path": "a"},
    {"$step": "one", "path": "$[0]"},
    {"$step": "one", "path": "$.a.a"},
    {"$variable": "v"},
    {"$variable": "$.v.a", "default": 7},
]


def combine(one: Any, other: Any) -> list[Any]:
    """What can be made of two references with one keyword, so that one of them tells something of the other."""
    return [
        {"$if": one, "then": one, "else": other},
        {"$if": one, "then": [other], "else": one},
        {"$coalesce": [one, other]},
        {"$variable": "v", "default": {"x": one, "y": other}},
    ]


@pytest.mark.parametrize("schema", SMALL_SCHEMAS, ids=str)
def test_every_small_expression_over_every_small_type_gives_what_is_said(schema: Any) -> None:
    type_ = read_schema(schema)
    scope = Scope(type_, read_schema({"type": "object", "properties": {"v": schema}}), {"one": type_})
    found = list_values(schema)
    values = [canonical_json(value) for value in found[:: len(found) // 12 + 1]]
    worlds = [
        World(value, {"one": values[(number * 7 + 3) % len(values)]}, {"v": values[number // 2]} if number % 2 else {})
        for number, value in enumerate(values + values[:1])
    ]
    for one in SMALL_REFERENCES:
        for expression in [one, *(made for other in SMALL_REFERENCES for made in combine(one, other))]:
            check(expression, scope, worlds)


def check(expression: Any, scope: Scope, worlds: list[World]) -> None:
    """What is told of an expression holds in these worlds."""
    type_, remarks = infer(expression, scope, "")
    schema, compiled = Schema(write_schema(type_)), compile_expression(expression, "", Findings())
    for world in worlds:
        found = compiled.evaluate(world)
        if any(remark.fit is Fit.MISFITS for remark in remarks):
            assert isinstance(found, Failure), (expression, world, remarks)
        elif isinstance(found, bytes):
            assert schema.is_valid(msgspec.json.decode(found)), (expression, world, found, describe(type_))


@given(told, st.lists(st.sampled_from(["a", "b", 0, 1]), max_size=2))
def test_a_path_that_is_said_to_lead_somewhere_does_and_one_that_never_does_never(
    schema: Any, path: list[str | int]
) -> None:
    found = follow(read_schema(schema), tuple(path))
    compiled = Schema(write_schema(found.type))
    for value in list_values(schema):
        end = follow_path(tuple(path), canonical_json(value))
        if found.fit is Fit.FITS:
            assert end is not None, value
        if found.fit is Fit.MISFITS:
            assert end is None, value
        if end is not None and found.fit is not Fit.MISFITS:
            assert compiled.is_valid(msgspec.json.decode(end)), value


OUTPUT = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "note": {"type": "string"}, "size": {"type": ["integer", "null"]}},
    "required": ["name", "size"],
}


@pytest.mark.parametrize(
    ("expression", "type_", "fit", "message"),
    [
        ({"$step": "one", "path": "name"}, "string", None, ""),
        ({"$step": "one", "path": "nmae"}, "any", Fit.MAY_MISFIT, "declares no field 'nmae'; did you mean 'name'?"),
        ({"$step": "one", "path": "note"}, "string", Fit.MAY_MISFIT, "may be without the field 'note'"),
        ({"$step": "one", "path": "$.name.first"}, "any", Fit.MISFITS, "is string, without a field 'first'"),
        ({"$coalesce": [{"$step": "one", "path": "size"}, 0]}, "integer", None, ""),
        ({"$coalesce": [{"$step": "one", "path": "size"}]}, "integer | null", None, ""),
        ({"$if": {"$step": "one", "path": "size"}, "then": {"$step": "one", "path": "size"}, "else": "no"},
         'integer | "no"', None, ""),
        ({"$if": {"$step": "one", "path": "note"}, "then": {"$step": "one", "path": "note"}},
         "string | null", None, ""),
        ({"$if": {"$step": "one", "path": "name"}, "then": 1, "else": 2}, "1", None, ""),
        ({"$if": {"$step": "one", "path": "$.name.x"}, "then": 1, "else": 2}, "1 | 2", Fit.MAY_MISFIT, "is never true"),
        ({"$if": {"$input": "$"}, "then": {"$step": "one", "path": "$.name.x"}},
         "any", Fit.MAY_MISFIT, "without a field"),
        ({"$variable": "mode", "default": "fast"}, '"fast" | "slow"', None, ""),
        ({"$variable": "mode"}, '"slow"', None, ""),
        ({"$variable": "mood"}, "any", Fit.MISFITS, "without a field 'mood'; did you mean 'mode'?"),
        ({"$input": "anything"}, "any", None, ""),
        ({"a": [1, {"$input": "x"}]}, "{a: [1, any]}", None, ""),
    ],
)  # fmt: skip
def test_expressions_have_types(expression: Any, type_: str, fit: Fit | None, message: str) -> None:
    variables = {"type": "object", "properties": {"mode": {"const": "slow"}}, "additionalProperties": False}
    scope = Scope(UNKNOWN, read_schema(variables), {"one": read_schema(OUTPUT)})
    found, remarks = infer(expression, scope, "/output")
    assert describe(found) == type_
    assert [remark.fit for remark in remarks] == ([] if fit is None else [fit])
    assert message in "".join(remark.message for remark in remarks)


def test_a_remark_has_the_place_of_the_reference() -> None:
    scope = Scope(type_of({"a": 1}), UNKNOWN, {})
    _, remarks = infer({"x": [0, {"$input": "b"}]}, scope, "/steps/0/input")
    assert [remark.place for remark in remarks] == ["/steps/0/input/x/1/$input"]
