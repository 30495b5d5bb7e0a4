"""JSON Schemas: what a flow says its input and variables look like. Nothing is ever fetched for one.

A check cannot be interrupted, so how long it may take is known before: `schema_cost`. What would take longer counts as
not fitting, and says why. Regular expressions take time in proportion to the text, or have a budget.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import jsonschema_rs
import msgspec
from msgspec import UNSET

from protocol.errors import ErrorCode, ItemErrorCode, RpcError
from stepflow_runtime.model.json_value import count_values
from stepflow_runtime.model.outcome import Failure
from stepflow_runtime.model.pointer import extend
from stepflow_runtime.model.schema_cost import Costs

MAX_SCHEMA_STEPS: Final = 100_000_000
"""What one check may take unless something else is said: a second or two. `limits.maxSchemaSteps`."""

LIMIT_NAME: Final = "maxSchemaSteps"

MAX_DESCRIBED_STEPS: Final = 200_000
"""A check of more is not repeated to say what is wrong where."""

MAX_BACKTRACKS: Final = 100_000
"""Of a pattern with look-around or back-references on one text; a text that takes more does not match."""

_MAX_MESSAGE: Final = 500

_PATTERNS: Final = jsonschema_rs.FancyRegexOptions(backtrack_limit=MAX_BACKTRACKS)


TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")


class SchemaError(ValueError):
    """A schema that is not one, or that refers to something outside of itself.

    Args:
        message: One sentence.
        path: Where in the schema, as keys from its root.
    """

    def __init__(self, message: str, path: Sequence[str | int] = ()) -> None:
        super().__init__(message)
        self.path = path


class Schema:
    """A compiled JSON Schema.

    Args:
        schema: The schema as JSON.

    Raises:
        SchemaError: It cannot be used.
    """

    __slots__ = ("_costs", "_steps_per_value", "_validator")

    def __init__(self, schema: Any) -> None:
        try:
            self._validator = jsonschema_rs.validator_for(
                schema, retriever=_refuse_retrieval, pattern_options=_PATTERNS
            )
            self._costs = Costs(schema)
        except jsonschema_rs.ValidationError as error:
            message = _describe_type(error) or f"The schema cannot be used: {_shorten(error.message)}"
            raise SchemaError(message, list(error.instance_path)) from None
        except (ValueError, RecursionError) as error:
            raise SchemaError(f"The schema cannot be used: {_shorten(str(error))}") from None
        self._steps_per_value = self._costs.steps_per_value

    def is_valid(self, value: Any, size: int | None = None, max_steps: int = MAX_SCHEMA_STEPS) -> bool:
        """Whether a JSON value fits; the fast question. What would take over `max_steps` does not.

        Args:
            value: What is checked.
            size: How many values there are in it, or more; by default they are counted.
            max_steps: What the check may take.
        """
        return self.can_check(value, size, max_steps) and self._validator.is_valid(value)

    def can_check(self, value: Any, size: int | None = None, max_steps: int = MAX_SCHEMA_STEPS) -> bool:
        """Whether a check surely ends within `max_steps`."""
        each = self._steps_per_value
        if each is not None:
            if size is not None and each * size <= max_steps:
                return True
            if each * count_values(value) <= max_steps:
                return True
        steps = self._costs.count(value)
        return steps is not None and steps <= max_steps

    def require_budget(self, what: str, value: Any, max_steps: int) -> None:
        """Refuses a check that could take more than `max_steps`.

        Args:
            what: Is checked, for people.
            value: It.
            max_steps: What the check may take.

        Raises:
            RpcError: `LIMIT_EXCEEDED`.
        """
        if not self.can_check(value, max_steps=max_steps):
            raise RpcError(ErrorCode.LIMIT_EXCEEDED, _explain_cost(what, max_steps), limit=LIMIT_NAME, value=max_steps)

    def find_misfits(self, value: Any, max_steps: int = MAX_SCHEMA_STEPS) -> list[tuple[list[str | int], str]]:
        """Where a JSON value does not fit, as keys from its root, and why."""
        if not self.can_check(value, max_steps=max_steps):
            return [([], f"checking it could take more than {max_steps} steps ({LIMIT_NAME})")]
        if not self._can_describe(value):
            return [] if self._validator.is_valid(value) else [([], "something in it does not fit")]
        return [(list(error.instance_path), _shorten(error.message)) for error in self._validator.iter_errors(value)]

    def _can_describe(self, value: Any) -> bool:
        """Whether there is room for all that may be wrong: what each step finds is kept, and quotes its value."""
        steps = self._steps_per_value or self._costs.count(value) or MAX_SCHEMA_STEPS
        return steps * count_values(value) <= MAX_DESCRIBED_STEPS


@lru_cache(256)
def parse_schema(raw: bytes) -> Schema:
    """The schema in raw JSON; those used last are kept.

    Raises:
        SchemaError: It cannot be used.
    """
    return Schema(msgspec.json.decode(raw))


def _describe_type(error: jsonschema_rs.ValidationError) -> str | None:
    """Of a type that is none; the error's own message speaks of the schema of schemas."""
    name = error.instance
    if not isinstance(name, str) or [*error.instance_path][-1:] != ["type"]:
        return None
    close = difflib.get_close_matches(name, TYPES, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"types are {', '.join(TYPES)}."
    return f"The schema cannot be used: {name!r} is no type; {hint}"


def _refuse_retrieval(uri: str) -> Any:
    raise ValueError(f"{uri} is outside of the flow, and schemas are not fetched; copy it into $defs")


def _explain_cost(what: str, max_steps: int) -> str:
    return (
        f"Checking {what} against the schema could take more than {max_steps} steps ({LIMIT_NAME}); make it smaller, "
        "or have the schema send each value down one branch."
    )


def _shorten(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE else message[:_MAX_MESSAGE] + "…"


class InputChecker:
    """Checks items against a flow's input schema; compiled once."""

    __slots__ = ("_max_steps", "_schema")

    def __init__(self, schema: Schema, max_steps: int = MAX_SCHEMA_STEPS) -> None:
        self._schema = schema
        self._max_steps = max_steps

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
        size = len(input) // 2 + 1
        max_steps = self._max_steps
        if self._schema.is_valid(value, size, max_steps):
            return None
        if not self._schema.can_check(value, size, max_steps):
            message = _explain_cost("the input", max_steps)
            return Failure(ItemErrorCode.LIMIT_EXCEEDED, message, {"limit": LIMIT_NAME, "value": max_steps})
        issues = [
            {"path": extend("", *path), "message": message}
            for path, message in self._schema.find_misfits(value, max_steps)[:20]
        ]
        place = f" at {issues[0]['path']}" if issues[0]["path"] else ""
        message = f"The input does not fit the flow's input schema{place}: {issues[0]['message']}"
        return Failure(ItemErrorCode.INVALID_INPUT, message, {"issues": issues})


def compile_input_checker(schema: Any, max_steps: int = MAX_SCHEMA_STEPS) -> InputChecker | None:
    """The checker for a flow's `input_schema`; `None` if every input fits.

    Args:
        schema: The schema as JSON.
        max_steps: What one check may take.

    Raises:
        SchemaError: The schema cannot be used.
    """
    if schema is UNSET or schema is None or schema is True or schema == {}:
        return None
    return InputChecker(Schema(schema), max_steps)
