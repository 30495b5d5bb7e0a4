"""Types for machines, as JSON Schemas that stand for themselves, and for people, in a few words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from stepflow_runtime.model.types.constants import constant_of, list_constants
from stepflow_runtime.model.types.lattice import Array, Budget, Field, Kind, Object, Scalar, Shape, Type

MAX_WRITTEN: Final = 1000
"""Types within one that are written as schemas."""

MAX_SHOWN: Final = 4
"""Fields, values or alternatives that a description names; of more it says how many there are."""

MAX_SHOWN_CHARACTERS: Final = 40
"""Of a constant."""

MAX_SHOWN_DEPTH: Final = 3


def write_schema(type: Type) -> Any:
    """The JSON Schema of a type; `{}` where any value may be, and beyond `MAX_WRITTEN` shapes."""
    return _Writer().write(type)


class _Writer:
    def __init__(self) -> None:
        self.budget = Budget(MAX_WRITTEN)

    def write(self, type: Type) -> Any:
        if type.is_open or not self.budget.take():
            return {}
        if type.is_never:
            return False
        whole = {shape.kind for shape in type.shapes if shape == Scalar(kind=shape.kind)}
        rest = [shape for shape in type.shapes if shape.kind not in whole or shape != Scalar(kind=shape.kind)]
        names: list[str] = [kind for kind in Kind if kind in whole]
        if {Kind.INTEGER, Kind.FRACTION} <= whole:
            names = [kind if kind != Kind.INTEGER else "number" for kind in names if kind != Kind.FRACTION]
        elif Kind.FRACTION in whole:
            names.remove(Kind.FRACTION)
            rest.append(Scalar(kind=Kind.FRACTION))
        constants = [None if isinstance(shape, Array | Object) else list_constants(shape) for shape in rest]
        if not names and len(rest) > 1 and all(values is not None for values in constants):
            return {"enum": [value for values in constants for value in values or ()]}
        written: list[Any] = [{"type": names[0] if len(names) == 1 else names}] if names else []
        for number in [shape for shape in rest if replace(shape, kind=Kind.FRACTION) in rest]:
            if number.kind is Kind.INTEGER and number.extra and isinstance(number, Scalar) and number.values is None:
                rest = [shape for shape in rest if shape not in (number, replace(number, kind=Kind.FRACTION))]
                written.append({"type": "number", **number.extra})
        written += [self.write_shape(shape) for shape in rest]
        return written[0] if len(written) == 1 else {"anyOf": written}

    def write_shape(self, shape: Shape) -> Any:
        if (constants := list_constants(shape)) is not None and shape.kind is not Kind.NULL:
            return {"const": constants[0]} if len(constants) == 1 else {"enum": constants}
        match shape:
            case Array(prefix=prefix, rest=rest):
                own: dict[str, Any] = {"type": "array"}
                if prefix:
                    own |= {"prefixItems": [self.write(element) for element in prefix], "minItems": len(prefix)}
                if not rest.is_open:
                    own["items"] = self.write(rest)
            case Object(fields=fields, rest=rest):
                own = {"type": "object"}
                if fields:
                    own["properties"] = {name: self.write(field.type) for name, field in fields.items()}
                if required := [name for name, field in fields.items() if field.required]:
                    own["required"] = required
                if not rest.is_open:
                    own["additionalProperties"] = self.write(rest)
            case Scalar(values=values) if values is not None:
                own = {"enum": list(values)}
            case _:
                is_fraction = shape.kind is Kind.FRACTION
                own = {"type": "number", "not": {"type": "integer"}} if is_fraction else {"type": shape.kind}
        if own.keys() & shape.extra.keys():
            return {"allOf": [own, shape.extra]}
        return {**own, **shape.extra}


# --- in words --------------------------------------------------------------------------------------------------------


def describe(type: Type, depth: int = MAX_SHOWN_DEPTH) -> str:
    """A type in a few words: `{item: string, count?: integer} | null`."""
    if type.is_open:
        return "any"
    if type.is_never:
        return "nothing"
    kinds = {shape.kind for shape in type.shapes}
    is_number = {Kind.INTEGER, Kind.FRACTION} <= kinds
    words: list[str] = []
    for shape in sorted(type.shapes, key=lambda shape: shape.kind is Kind.NULL):
        is_any = isinstance(shape, Scalar) and shape.values is None
        is_part = is_number and is_any and shape.kind is Kind.INTEGER
        word = "number" if is_part else _describe_shape(shape, depth)
        if word not in words:
            words.append(word)
    return " | ".join(_shorten(words, "others"))


def _describe_shape(shape: Shape, depth: int) -> str:
    match shape:
        case Scalar(kind=Kind.NULL):
            return "null"
        case Scalar(values=values) if values is not None:
            return " | ".join(_shorten(sorted(map(_show, values)), "others"))
        case Array(prefix=(), rest=rest):
            inner = "any" if depth <= 0 else describe(rest, depth - 1)
            return f"[{inner}, …]" if not rest.is_never else "[]"
        case Array(prefix=prefix, rest=rest):
            elements = _shorten([describe(element, depth - 1) for element in prefix] if depth > 0 else ["…"], "others")
            return f"[{', '.join([*elements, *([] if rest.is_never else ['…'])])}]"
        case Object(fields=fields) if not fields:
            return "{}" if shape.rest.is_never else "object"
        case Object(fields=fields):
            if depth <= 0:
                return "{…}"
            return f"{{{', '.join(_shorten(_each(fields.items(), depth), 'others'))}}}"
        case _:
            return "number" if shape.kind is Kind.FRACTION else shape.kind


def _each(fields: Iterable[tuple[str, Field]], depth: int) -> list[str]:
    return [f"{name}{'' if field.required else '?'}: {describe(field.type, depth - 1)}" for name, field in fields]


def _show(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "…"


def _shorten(words: list[str], what: str) -> list[str]:
    return words if len(words) <= MAX_SHOWN else [*words[: MAX_SHOWN - 1], f"{len(words) - MAX_SHOWN + 1} {what}"]


def describe_constant(type: Type) -> str | None:
    """The one value of a type that has only one, as JSON."""
    constant = constant_of(type)
    return None if constant is None else _show(constant[0])
