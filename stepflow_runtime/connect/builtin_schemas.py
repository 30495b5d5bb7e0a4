"""What the built-in components take and give, as JSON Schemas, and what they give for what they are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import UNSET

from protocol.runs import Outcome
from stepflow_runtime.connect.files import FORMATS
from stepflow_runtime.model.json_value import is_object

_TEXT: Final = {"type": "string"}
_OPTIONAL_TEXT: Final = {"type": ["string", "null"]}
_COUNT: Final = {"type": "integer", "minimum": 0}
_OPTIONAL_COUNT: Final = {"type": ["integer", "null"], "minimum": 0}
_OPTIONAL_POSITIVE: Final = {"type": ["integer", "null"], "minimum": 1}
_ANY: Final[dict[str, Any]] = {}


def _describe(required: Mapping[str, Any], **optional: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **optional}, "required": list(required)}


_ERROR: Final = _describe({"code": _TEXT, "message": _TEXT}, data=_ANY)
_RESULT: Final = _describe(
    {"outcome": {"enum": [str(outcome) for outcome in Outcome]}}, value=_ANY, error=_ERROR, reason=_TEXT
)
_ROLES: Final = {"enum": ["system", "user"]}

INPUT_SCHEMAS: Final[Mapping[str, Any]] = {
    "/create_messages": _describe({"user_prompt": _TEXT}, system_instructions=_OPTIONAL_TEXT),
    "/eval": _describe({"input": _ANY}, flow_id=_OPTIONAL_TEXT, flow=_ANY),
    "/get_blob": _describe({"blob_id": _TEXT}),
    "/iterate": _describe(
        {"initial_input": _ANY}, flow_id=_OPTIONAL_TEXT, flow=_ANY, max_iterations=_OPTIONAL_POSITIVE
    ),
    "/load_file": _describe({"path": _TEXT}, format={"enum": [*sorted({*FORMATS.values(), "text"}), None]}),
    "/map": _describe(
        {"items": {"type": "array"}}, flow_id=_OPTIONAL_TEXT, workflow=_ANY, max_concurrency=_OPTIONAL_POSITIVE
    ),
    "/noop": _ANY,
    "/put_blob": _describe({"data": _ANY}, blob_type={"enum": ["data", "flow", "binary", None]}),
    "/sleep": _describe({}, duration_ms=_OPTIONAL_COUNT, until=_OPTIONAL_TEXT, passthrough=_ANY),
    "/suspend": _describe(
        {},
        payload=_ANY,
        resume_schema=_ANY,
        label=_OPTIONAL_TEXT,
        token=_OPTIONAL_TEXT,
        timeout_ms=_OPTIONAL_POSITIVE,
    ),
}
"""By path; `{}` where any input will do."""

OUTPUT_SCHEMAS: Final[Mapping[str, Any]] = {
    "/create_messages": _describe(
        {"messages": {"type": "array", "items": _describe({"role": _ROLES, "content": _TEXT})}}
    ),
    "/eval": _describe({"result": _RESULT, "run_id": _TEXT}),
    "/get_blob": _describe({"data": _ANY}),
    "/iterate": _describe({"result": _ANY, "iterations": _COUNT, "terminated": {"type": "boolean"}}),
    "/load_file": _describe(
        {"data": _ANY, "metadata": _describe({"resolved_path": _TEXT, "size_bytes": _COUNT, "format": _TEXT})}
    ),
    "/map": _describe(
        {"results": {"type": "array", "items": _RESULT}, "successful": _COUNT, "failed": _COUNT},
    ),
    "/put_blob": _describe({"blob_id": _TEXT}),
}
"""By path; of those whose output does not depend on their input."""


def _find_member(schema: Any, name: str) -> Any:
    """The schema of a field of a constant, or of an object with such a field; `UNSET` if there is none."""
    if not is_object(schema):
        return UNSET
    constant = schema.get("const")
    if is_object(constant):
        return {"const": constant[name]} if name in constant else UNSET
    properties = schema.get("properties")
    if not is_object(properties) or schema.get("type") != "object" or name not in schema.get("required", ()):
        return UNSET
    return properties.get(name, UNSET)


def infer_noop(input_schema: Any) -> Any:
    """It gives what it is given."""
    return input_schema


def infer_sleep(input_schema: Any) -> Any:
    """It gives its `passthrough`."""
    return _find_member(input_schema, "passthrough")


def infer_suspend(input_schema: Any) -> Any:
    """It gives what it is resumed with, which is checked against the schema that it names."""
    found: Any = _find_member(input_schema, "resume_schema")
    schema = found.get("const") if is_object(found) else None
    return UNSET if schema is None else schema


INFERENCES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "/noop": infer_noop,
    "/sleep": infer_sleep,
    "/suspend": infer_suspend,
}
"""By path: the schema of the output for that of an input."""
