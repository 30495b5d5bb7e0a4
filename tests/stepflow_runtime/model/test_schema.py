"""Inputs against the schema of a flow."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from stepflow_runtime.model.schema import MAX_SCHEMA_STEPS, Schema, SchemaError, compile_input_checker

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.mark.parametrize("schema", [UNSET, None, True, {}])
def test_a_schema_that_all_fit_needs_no_checker(schema: Any) -> None:
    assert compile_input_checker(schema) is None


def test_an_input_that_fits_passes() -> None:
    checker = compile_input_checker(SCHEMA)
    assert checker is not None
    assert checker.check(b'{"a": 123456789012345678901234567890}') is None


def test_an_input_that_does_not_fit_is_told_where() -> None:
    checker = compile_input_checker(SCHEMA)
    assert checker is not None
    failure = checker.check(b'{"a": 1.5}')
    assert failure is not None
    assert failure.code == "INVALID_INPUT"
    assert "at /a" in failure.message
    assert [issue["path"] for issue in failure.data["issues"]] == ["/a"]
    assert len(str(checker.check(b'{"a": "' + b"x" * 100_000 + b'"}'))) < 2000


def test_no_input_fits_the_schema_false() -> None:
    checker = compile_input_checker(False)
    assert checker is not None
    assert checker.check(b"1") is not None


def test_an_input_that_cannot_be_decoded_is_invalid() -> None:
    checker = compile_input_checker(SCHEMA)
    assert checker is not None
    failure = checker.check(b'{"a": 1e999}')
    assert failure is not None
    assert failure.code == "INVALID_INPUT"


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, 5, {"$ref": "#/nowhere"}])
def test_a_schema_that_cannot_be_used_is_refused(schema: Any) -> None:
    with pytest.raises(SchemaError, match="cannot be used"):
        Schema(schema)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9/schema.json", "file:///etc/hostname"])
def test_nothing_is_fetched_for_a_schema(uri: str) -> None:
    with pytest.raises(SchemaError, match="schemas are not fetched"):
        Schema({"$ref": uri})


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "(a*)*b", r"^(?=(a+)+$)", r"^(a+)\1+$"])
def test_a_pattern_that_backtracks_takes_no_time(pattern: str) -> None:
    started = time.monotonic()
    assert Schema({"type": "string", "pattern": pattern}).is_valid("a" * 60 + "!") is False
    assert time.monotonic() - started < 5


def test_a_pattern_or_a_nesting_that_is_too_large_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(900):
        deep = {"properties": {"a": deep}}
    for schema in (deep, {"pattern": "(?:a{1,1000}){1,1000}"}):
        with pytest.raises(SchemaError, match="cannot be used"):
            Schema(schema)


def test_a_schema_that_refers_to_itself_ends() -> None:
    value: Any = 1
    for _ in range(500):
        value = {"a": value}
    assert Schema({"$ref": "#"}).is_valid(value)
    tree = {"$defs": {"n": {"type": ["object", "number"], "properties": {"a": {"$ref": "#/$defs/n"}}}}}
    assert Schema({"$ref": "#/$defs/n", **tree}).is_valid(value)


def nest(depth: int, bottom: Any = 1, key: str = "a", kind: Any = "none") -> Any:
    value = bottom
    for _ in range(depth):
        value = {key: value, "kind": kind}
    return value


def kinds(count: int) -> dict[str, Any]:
    """A value of several kinds, each of which may hold another: one that is none of them is looked at in all ways."""
    node = {"$ref": "#/$defs/node"}
    return {
        "$defs": {
            "node": {"anyOf": [{"properties": {"a": node, "kind": {"const": n}}} for n in range(count)]},
        },
        "$ref": "#/$defs/node",
    }


def chain(length: int) -> dict[str, Any]:
    """Doubles the work with each link, whatever the value."""
    defs: dict[str, Any] = {f"n{n}": {"allOf": [{"$ref": f"#/$defs/n{n + 1}"}] * 2} for n in range(length)}
    return {"$ref": "#/$defs/n0", "$defs": {**defs, f"n{length}": {"type": "integer"}}}


HOSTILE: list[tuple[Any, Any]] = [
    (kinds(3), nest(40)),
    ({"items": {"pattern": r"(a*)*\1$"}}, [str(n) for n in range(20_000)]),
    (chain(60), 1),
    ({"items": {"$ref": "#/$defs/n0"}, "$defs": chain(20)["$defs"]}, list(range(1000))),
    ({"allOf": [{"properties": {"a": {"$ref": "#"}}}, {"additionalProperties": {"$ref": "#"}}]}, nest(60)),
    ({"patternProperties": {"a": {"$ref": "#"}, "^a": {"$ref": "#"}}}, nest(60)),
    ({"$dynamicAnchor": "n", "anyOf": [{"properties": {"a": {"$dynamicRef": "#n"}, "b": False}}] * 2}, nest(60)),
    ({"$id": "https://x/a", "anyOf": [{"properties": {"a": {"$ref": "a"}}, "required": ["a"]}] * 2}, nest(60, [])),
]


@pytest.mark.parametrize(("schema", "value"), HOSTILE)
def test_a_check_that_would_not_end_is_not_begun(schema: Any, value: Any) -> None:
    started = time.monotonic()
    checker = compile_input_checker(schema)
    assert checker is not None
    failure = checker.check(msgspec.json.encode(value))
    assert failure is not None
    assert (failure.code, failure.data) == ("LIMIT_EXCEEDED", {"limit": "maxSchemaSteps", "value": MAX_SCHEMA_STEPS})
    assert "maxSchemaSteps" in Schema(schema).find_misfits(value)[0][1]
    assert time.monotonic() - started < 5


def test_what_is_wrong_is_told_briefly_where_telling_it_would_take_long() -> None:
    started = time.monotonic()
    assert Schema(kinds(2)).find_misfits(nest(14)) == [([], "something in it does not fit")]
    assert len(Schema(kinds(2)).find_misfits(nest(3))) == 1
    assert Schema({"allOf": [False] * 1000}).find_misfits(["x" * 1000] * 1000)[0][1] == "something in it does not fit"
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (kinds(4), nest(6, kind=2)),
        ({"properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}}, nest(400)),
        ({"properties": {"a": {"$ref": "#"}}, "unevaluatedProperties": {"type": "string"}}, nest(8)),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, nest(50, {}, "not")),
        ({"items": {"properties": {"a": {"type": "integer", "minimum": 0}}}}, [{"a": 1}] * 300_000),
        ({"prefixItems": [{"$ref": "#"}, {"$ref": "#"}]}, [[[1, 2], 3], [[4]]]),
        ({"$id": "https://x/y.json", "$defs": {"i": {"$anchor": "i", "type": "integer"}}, "$ref": "y.json#i"}, 5),
        ({"$id": "https://x/y.json", "properties": {"a": {"$ref": "https://x/y.json"}}}, nest(100)),
    ],
)
def test_what_ends_soon_is_checked(schema: Any, value: Any) -> None:
    checker = compile_input_checker(schema)
    assert checker is not None
    assert checker.check(msgspec.json.encode(value)) is None


def test_a_schema_that_never_goes_into_the_value_is_refused() -> None:
    circle = {"$ref": "#/$defs/n0", "$defs": {f"n{n}": {"$ref": f"#/$defs/n{(n + 1) % 3}"} for n in range(3)}}
    with pytest.raises(SchemaError, match="refers to itself without going into the value"):
        Schema(circle)


def test_a_text_that_takes_a_pattern_too_long_does_not_match() -> None:
    started = time.monotonic()
    hostile = {"items": {"pattern": r"^(?:(a+)\1?)+$"}}
    assert not Schema(hostile).is_valid(["a" * 35 + "!"] * 100)
    assert Schema({"pattern": r"^((?!foo).)*$"}).is_valid("a" * 50_000)
    assert time.monotonic() - started < 5
