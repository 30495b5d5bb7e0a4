"""What is said to fit does, and what is said never to fit never does, by the judgement of the validator itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from protocol.flows import Fit
from stepflow_runtime.model.schema import Schema
from stepflow_runtime.model.types.constants import type_of
from stepflow_runtime.model.types.fitting import compare
from stepflow_runtime.model.types.lattice import ANY, NEVER, UNKNOWN, Budget, intersect, unite
from stepflow_runtime.model.types.reading import read_schema
from stepflow_runtime.model.types.writing import describe, write_schema
from tests.stepflow_runtime.model.types.values import VALUES, list_values, schemas


@given(schemas, schemas)
def test_what_fits_always_fits_and_what_misfits_never_does(left: Any, right: Any) -> None:
    given_, wanted = read_schema(left), read_schema(right)
    answer = compare(given_, wanted)
    compiled = Schema(right)
    for value in list_values(left):
        if answer.fit is Fit.FITS:
            assert compiled.is_valid(value), (value, describe(given_), describe(wanted))
        if answer.fit is Fit.MISFITS:
            assert not compiled.is_valid(value), (value, answer.reasons)
    assert bool(answer.reasons) == (answer.fit in (Fit.MISFITS, Fit.MAY_MISFIT))


TEXT, WHOLE, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
SMALL_SCHEMAS: list[Any] = [
    True,
    TEXT,
    WHOLE,
    NUMBER,
    {"type": ["string", "null"]},
    {"enum": ["x", None, 0]},
    {"enum": ["", "x"]},
    {"const": 1.0},
    {"const": ["x"]},
    {"const": {"a": "x"}},
    {"type": "string", "minLength": 1},
    {"type": "number", "minimum": 1},
    {"oneOf": [WHOLE, NUMBER]},
    {"oneOf": [TEXT, {"const": "x"}]},
    {"anyOf": [{"const": "x"}, WHOLE]},
    {"allOf": [NUMBER, {"enum": [1, 0.5, "x"]}]},
    {"allOf": [{"enum": ["x", 0]}, {"enum": ["x", 1]}]},
    {"allOf": [{"type": "string", "minLength": 1}, {"type": "string", "maxLength": 1}]},
    {"not": TEXT},
    {"minLength": 1},
    {"type": "object"},
    {"type": "object", "required": ["a"]},
    {"type": "object", "properties": {"a": TEXT}},
    {"type": "object", "properties": {"a": TEXT}, "required": ["a"], "additionalProperties": False},
    {"type": "object", "properties": {"a": {"type": ["string", "integer"]}}, "additionalProperties": False},
    {"type": "object", "additionalProperties": TEXT},
    {"type": "object", "patternProperties": {"a": WHOLE}},
    {"oneOf": [{"type": "object", "required": ["a"]}, {"type": "object", "required": ["b"]}]},
    {"anyOf": [{"type": "object", "properties": {"a": TEXT}}, {"type": "object", "properties": {"a": WHOLE}}]},
    {"type": "array"},
    {"type": "array", "items": TEXT},
    {"type": "array", "items": {"type": ["string", "null"]}, "minItems": 1},
    {"type": "array", "prefixItems": [TEXT], "items": False},
]


@pytest.mark.parametrize("left", SMALL_SCHEMAS, ids=str)
def test_every_small_schema_fits_every_other_as_is_said(left: Any) -> None:
    values = list_values(left)
    for right in SMALL_SCHEMAS:
        wanted, compiled = read_schema(right), Schema(right)
        answer = compare(read_schema(left), wanted)
        fitting = [compiled.is_valid(value) for value in values]
        match answer.fit:
            case Fit.FITS:
                assert all(fitting), right
            case Fit.MAY_MISFIT:
                assert not all(fitting), right
            case Fit.MISFITS:
                assert not any(fitting), right
            case Fit.UNKNOWN:
                pass
        for value, fits in zip(values[::5], fitting[::5], strict=True):
            assert compare(type_of(value), wanted).fit in (Fit.UNKNOWN, Fit.FITS if fits else Fit.MISFITS), (
                right,
                value,
            )


@given(schemas)
def test_a_constant_fits_exactly_if_the_validator_says_so_or_nothing_is_said(schema: Any) -> None:
    wanted, compiled = read_schema(schema), Schema(schema)
    for value in VALUES[::3]:
        match compare(type_of(value), wanted).fit:
            case Fit.FITS:
                assert compiled.is_valid(value), value
            case Fit.MISFITS:
                assert not compiled.is_valid(value), value
            case Fit.MAY_MISFIT:
                raise AssertionError(f"one value {value} either fits or does not")
            case Fit.UNKNOWN:
                pass


@given(schemas)
def test_a_type_is_never_narrower_than_its_schema_nor_wider_if_it_is_exact(schema: Any) -> None:
    type_ = read_schema(schema)
    written = write_schema(type_)
    compiled, fits = Schema(written), Schema(schema)
    is_exact = read_schema(written) == type_ and compare(type_, type_).fit is Fit.FITS
    for value in VALUES:
        if fits.is_valid(value):
            assert compiled.is_valid(value), (value, written)
        elif is_exact and not type_.is_open:
            assert not compiled.is_valid(value), (value, written)


@given(schemas, schemas)
def test_unions_hold_both_and_intersections_what_both_have(left: Any, right: Any) -> None:
    one, other = read_schema(left), read_schema(right)
    union, both = Schema(write_schema(unite([one, other]))), Schema(write_schema(intersect(one, other, Budget(1000))))
    mine, theirs = Schema(left), Schema(right)
    for value in VALUES:
        if mine.is_valid(value) or theirs.is_valid(value):
            assert union.is_valid(value)
        if mine.is_valid(value) and theirs.is_valid(value):
            assert both.is_valid(value)


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
}
CLOSED = {**PERSON, "additionalProperties": False}


@pytest.mark.parametrize(
    ("left", "right", "fit", "reason"),
    [
        ({"type": "string"}, {"type": "integer"}, Fit.MISFITS, "is string, and integer is needed"),
        ({"type": ["string", "null"]}, {"type": "string"}, Fit.MAY_MISFIT, "may be null, and string is needed"),
        ({"type": "string", "nullable": True}, {"type": "string"}, Fit.UNKNOWN, ""),
        ({"type": "integer"}, {"type": "number"}, Fit.FITS, ""),
        ({"type": "number"}, {"type": "integer"}, Fit.MAY_MISFIT, "may be number, and integer is needed"),
        ({"type": "string"}, {"enum": ["a", "b"]}, Fit.MAY_MISFIT, 'may be string, and "a" | "b" is needed'),
        ({"enum": ["a", "c"]}, {"enum": ["a", "b"]}, Fit.MAY_MISFIT, 'may be "a" | "c", and "a" | "b" is needed'),
        ({"enum": ["c"]}, {"enum": ["a", "b"]}, Fit.MISFITS, 'is "c", and "a" | "b" is needed'),
        ({"type": "string"}, {"type": "string", "pattern": "^a"}, Fit.UNKNOWN, ""),
        ({"type": "string", "format": "uuid"}, {"type": "string", "format": "uuid"}, Fit.FITS, ""),
        ({"const": "b"}, {"type": "string", "pattern": "^a"}, Fit.MISFITS, 'does not fit: "b" does not match "^a"'),
        ({"type": "object"}, PERSON, Fit.UNKNOWN, ""),
        (PERSON, {"type": "object", "required": ["mail"]}, Fit.MAY_MISFIT, "may have no field 'mail', which is needed"),
        (CLOSED, {"type": "object", "required": ["mail"]}, Fit.MISFITS, "has no field 'mail', which is needed"),
        (PERSON, {"required": ["age"]}, Fit.MAY_MISFIT, "may have no field 'age', which is needed"),
        (PERSON, {"type": "object"}, Fit.FITS, ""),
        (PERSON, {"properties": {"age": {"type": "string"}}}, Fit.MAY_MISFIT, "is integer, and string is needed"),
        ({"type": "string", "$ref": "#/$defs/a", "$defs": {"a": {"type": ["string", "null"]}}}, {"type": "string"},
         Fit.FITS, ""),
        (CLOSED, CLOSED, Fit.FITS, ""),
        (PERSON, CLOSED, Fit.UNKNOWN, ""),
        ({"const": {"name": "x", "mail": 1}}, CLOSED, Fit.MISFITS, "is no field of it; it takes 'age', 'name'"),
        ({"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "integer"}},
         Fit.MAY_MISFIT, "is string, and integer is needed"),
        ({}, {"type": "string"}, Fit.UNKNOWN, ""),
        ({"type": "string"}, {}, Fit.FITS, ""),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, {"type": "string"}, Fit.UNKNOWN, ""),
    ],
)  # fmt: skip
def test_answers_say_why(left: Any, right: Any, fit: Fit, reason: str) -> None:
    answer = compare(read_schema(left), read_schema(right))
    assert (answer.fit, "; ".join(reason.message for reason in answer.reasons)) == (fit, reason)


def test_a_reason_names_the_place() -> None:
    given_ = {"const": {"rows": [{"n": 1}, {"n": "x"}]}}
    row = {"type": "object", "properties": {"n": {"type": "integer"}}}
    wanted = {"type": "object", "properties": {"rows": {"type": "array", "items": row}}}
    (reason,) = compare(read_schema(given_), read_schema(wanted)).reasons
    assert reason.path == ("rows", 1, "n")


def test_a_tree_is_read_as_far_as_it_goes_round_once() -> None:
    children = {"items": {"$ref": "#"}}
    tree = {"type": "object", "properties": {"value": {"type": "integer"}, "children": children}}
    assert compare(read_schema(tree), read_schema(tree)).fit is Fit.UNKNOWN
    other = {**tree, "required": ["value"], "properties": {"value": {"type": "string"}, "children": children}}
    assert compare(read_schema({"const": {"value": 1}}), read_schema(other)).fit is Fit.MISFITS


def test_what_nobody_knows_stays_unknown_also_where_something_else_takes_anything() -> None:
    assert intersect(UNKNOWN, ANY, Budget(1)) is UNKNOWN
    assert intersect(ANY, UNKNOWN, Budget(1)) is UNKNOWN


def test_open_types_fit_only_what_takes_anything() -> None:
    string = read_schema({"type": "string"})
    assert [compare(ANY, one).fit for one in (ANY, UNKNOWN, string, NEVER)] == [
        Fit.FITS,
        Fit.UNKNOWN,
        Fit.UNKNOWN,
        Fit.MISFITS,
    ]


@pytest.mark.parametrize("width", [3, 40, 3000])
def test_a_schema_that_grows_without_end_is_read_in_bounds(width: int) -> None:
    """Each definition refers to the next one many times: written out it would have `width ** 60` parts."""
    definitions = {
        f"d{n}": {"type": "object", "properties": {f"p{i}": {"$ref": f"#/$defs/d{n + 1}"} for i in range(width)}}
        for n in range(60 if width < 100 else 2)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": definitions}
    type_ = read_schema(schema)
    assert compare(type_, type_).fit is Fit.UNKNOWN
    assert len(describe(type_)) < 1000
