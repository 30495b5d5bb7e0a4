"""JSON Schemas: what a flow says its input and variables look like. Nothing is ever fetched for one."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import msgspec
from msgspec import UNSET

from protocol.errors import ItemErrorCode
from stepflow_runtime.model.outcome import Failure
from stepflow_runtime.model.pointer import extend

_MAX_MESSAGE = 500


class SchemaError(ValueError):
    """A schema that is not one, or that refers to something outside of itself."""


class Schema:
    """A compiled JSON Schema.

    Args:
        schema: The schema as JSON.

    Raises:
        SchemaError: It cannot be used.
    """

    __slots__ = ("_validator", "is_valid")

    def __init__(self, schema: Any) -> None:
        try:
            self._validator = jsonschema_rs.validator_for(schema, retriever=_refuse_retrieval)
        except (ValueError, RecursionError) as error:
            message = getattr(error, "message", None) or str(error)
            raise SchemaError(f"The schema cannot be used: {_shorten(message)}") from None
        self.is_valid = self._validator.is_valid
        """Whether a JSON value fits; the fast question."""

    def find_misfits(self, value: Any) -> list[tuple[list[str | int], str]]:
        """Where a JSON value does not fit, as keys from its root, and why."""
        return [(list(error.instance_path), _shorten(error.message)) for error in self._validator.iter_errors(value)]


def _refuse_retrieval(uri: str) -> Any:
    raise ValueError(f"{uri} is outside of the flow, and schemas are not fetched; copy it into $defs")


def _shorten(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE else message[:_MAX_MESSAGE] + "…"


class InputChecker:
    """Checks items against a flow's input schema; compiled once."""

    __slots__ = ("_schema",)

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def check(self, input: bytes) -> Failure | None:
        """Why an item fails before it starts: `INVALID_INPUT`, or `None` if its input fits.

        Args:
            input: The item's input, raw JSON.
        """
        try:
            value = msgspec.json.decode(input)
        except (msgspec.MsgspecError, RecursionError) as error:
            return Failure(
                ItemErrorCode.INVALID_INPUT, f"The input cannot be checked against the flow's schema: {error}."
            )
        if self._schema.is_valid(value):
            return None
        issues = [
            {"path": extend("", *path), "message": message} for path, message in self._schema.find_misfits(value)[:20]
        ]
        place = f" at {issues[0]['path']}" if issues[0]["path"] else ""
        message = f"The input does not fit the flow's input schema{place}: {issues[0]['message']}"
        return Failure(ItemErrorCode.INVALID_INPUT, message, {"issues": issues})


def compile_input_checker(schema: Any) -> InputChecker | None:
    """The checker for a flow's `input_schema`; `None` if every input fits.

    Raises:
        SchemaError: The schema cannot be used.
    """
    if schema is UNSET or schema is None or schema is True or schema == {}:
        return None
    return InputChecker(Schema(schema))
