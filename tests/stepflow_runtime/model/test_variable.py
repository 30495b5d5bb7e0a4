"""Variables of a run."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.model.schema import Schema
from stepflow_runtime.model.variable import find_secrets, resolve_variables

SCHEMA = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "temperature": {"type": "number", "default": 0.70},
        "key": {"type": "string", "is_secret": True},
    },
    "required": ["model"],
}


def issues(schema: Any, given: dict[str, bytes]) -> list[tuple[str, str]]:
    with pytest.raises(RpcError) as caught:
        resolve_variables(schema, given)
    assert caught.value.code == ErrorCode.VALIDATION_FAILED
    assert "hush" not in str(caught.value.data)
    return [(issue["code"], issue["path"]) for issue in caught.value.data["issues"]]


@pytest.mark.parametrize("schema", [UNSET, None])
def test_without_a_schema_any_variables_are_taken(schema: Any) -> None:
    assert resolve_variables(schema, {"a": b"1.10"}) == {"a": b"1.10"}


def test_defaults_fill_in_what_is_absent() -> None:
    assert resolve_variables(SCHEMA, {"model": b'"m"'}) == {"model": b'"m"', "temperature": b"0.7"}


def test_what_is_given_stays_digit_for_digit() -> None:
    given = {"model": b'"\\u006d"', "temperature": b"1.10"}
    assert resolve_variables(SCHEMA, given) == given


def test_a_missing_variable_is_refused() -> None:
    assert issues(SCHEMA, {}) == [("bad_variable", "/variables")]


def test_a_variable_that_does_not_fit_is_refused_where_it_lies() -> None:
    assert issues(SCHEMA, {"model": b"1"}) == [("bad_variable", "/variables/model")]


def test_a_literal_for_a_secret_is_refused_and_not_repeated() -> None:
    assert [secret.name for secret in find_secrets(SCHEMA)] == ["key"]
    assert issues(SCHEMA, {"model": b'"m"', "key": b'"hush"'}) == [("secret_literal", "/variables/key")]


def test_a_required_secret_without_a_value_is_refused() -> None:
    assert issues({**SCHEMA, "required": ["key"]}, {}) == [("secret_unresolved", "/variables/key")]


def test_a_secret_is_there_as_its_token_and_not_checked_as_a_value() -> None:
    key = {"type": "object", "is_secret": True, "env_var": "KEY"}
    properties = {"model": {"type": "string"}, "key": key}
    schema = {"type": "object", "properties": properties, "required": ["key"], "additionalProperties": False}
    (secret,) = find_secrets(schema)
    assert (secret.env_var, secret.is_text) == ("KEY", False)
    resolved = resolve_variables(schema, {"model": b'"m"'}, {"key": b'"$secret:key:1"'})
    assert resolved["key"] == b'"$secret:key:1"'


def test_the_schema_of_a_secret_may_refer_to_definitions() -> None:
    key = {"$ref": "#/$defs/key", "is_secret": True}
    (secret,) = find_secrets({"$defs": {"key": {"type": "string", "minLength": 3}}, "properties": {"key": key}})
    assert [Schema(secret.schema).is_valid(value) for value in ("ab", "abc")] == [False, True]


def test_a_schema_that_cannot_be_used_is_refused() -> None:
    assert issues({"type": "nonsense"}, {}) == [("bad_schema", "/schemas/properties/variables")]
