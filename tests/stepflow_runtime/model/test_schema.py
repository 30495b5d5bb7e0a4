"""Inputs against the schema of a flow."""

from __future__ import annotations

import time
from typing import Any

import pytest
from msgspec import UNSET

from stepflow_runtime.model.schema import Schema, SchemaError, compile_input_checker

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
