"""Forms made from JSON Schemas, and the JSON that was filled in. Pure.

Flat objects of plain values, and plain values, get fields of their own; for anything else JSON is written by hand. The
runtime checks what comes of it against the schema, so that a form need not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, cast

import msgspec
from msgspec import Struct

from protocol.messages import UNREADABLE
from stepflow_runtime.web.refusal import Refused

Kind = Literal["text", "number", "boolean", "choice", "json"]

_KINDS: Final[Mapping[str, Kind]] = {"string": "text", "integer": "number", "number": "number", "boolean": "boolean"}

PREFIX: Final = "field."
WHOLE: Final = "value"


class Field(Struct):
    """One field.

    Args:
        name: Of the input.
        label: For people.
        kind: What is filled in.
        required: Whether it must be.
        choices: JSON values to choose from.
        help: What the schema says about it.
    """

    name: str
    label: str
    kind: Kind
    required: bool
    choices: list[str] = []
    help: str = ""


def make_fields(schema: bytes | None) -> list[Field]:
    """The fields of a form for a value of a schema."""
    parsed = _read_fields(None if schema is None else _decode(schema))
    if parsed:
        properties = _read_fields(parsed.get("properties"))
        if parsed.get("type") == "object" and properties:
            required = _read_list(parsed.get("required"))
            return [_make_field(PREFIX + name, name, part, name in required) for name, part in properties.items()]
        return [_make_field(WHOLE, str(parsed.get("title", "Answer")), parsed, True)]
    return [Field(WHOLE, "Data (JSON)", "json", False)]


def read_form(schema: bytes | None, form: Mapping[str, str]) -> bytes | None:
    """The JSON that was filled in; `None` for nothing.

    Raises:
        Refused: A field cannot be read.
    """
    fields = make_fields(schema)
    if len(fields) == 1 and fields[0].name == WHOLE:
        return _read(fields[0], form)
    parts = [(field.label, _read(field, form)) for field in fields]
    written = [json.dumps(label).encode() + b":" + value for label, value in parts if value is not None]
    return b"{" + b",".join(written) + b"}"


def _make_field(name: str, label: str, schema: Any, required: bool) -> Field:
    schema = _read_fields(schema)
    choices = _read_list(schema.get("enum"))
    kind: Kind = _KINDS.get(str(schema.get("type")), "json")
    written: list[str] = []
    if choices:
        kind, written = "choice", [json.dumps(choice) for choice in choices]
    return Field(name, label, kind, required, written, str(schema.get("description", "")))


def _read(field: Field, form: Mapping[str, str]) -> bytes | None:
    text = form.get(field.name, "")
    if field.kind == "text":
        return json.dumps(text).encode() if text or field.required else None
    if not text.strip():
        return None
    return read_json(field.label, text)


def read_json(label: str, text: str) -> bytes:
    """JSON that was written by hand.

    Raises:
        Refused: It is none.
    """
    if _decode(text.encode()) is _INVALID:
        raise Refused(400, f'The field "{label}" is not JSON; strings stand in quotation marks.')
    return text.encode()


def _read_fields(value: Any) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _read_list(value: Any) -> Sequence[Any]:
    return cast(Sequence[Any], value) if isinstance(value, list) else ()


_INVALID: Final = object()


def _decode(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except UNREADABLE:
        return _INVALID
