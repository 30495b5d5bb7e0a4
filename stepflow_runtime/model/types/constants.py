"""Types that have one value, or few: the constants of a flow, and what a schema enumerates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec.structs import replace

from stepflow_runtime.model.json_value import is_array, is_object
from stepflow_runtime.model.types.lattice import (
    NEVER,
    Array,
    Field,
    Kind,
    Object,
    Scalar,
    Shape,
    Type,
    make_scalar,
    make_whole,
)

MAX_CONSTANT_VALUES: Final = 1000
"""Values in a constant that is looked into; of a larger one only the kind is seen."""

MAX_CONSTANT_DEPTH: Final = 50
"""Likewise how deeply it may nest."""


def type_of(value: Any) -> Type:
    """The type that has one value only, a JSON value; of a large one, all of its kind."""
    return _Constants().read(value, 0)


class _Constants:
    def __init__(self) -> None:
        self.left = MAX_CONSTANT_VALUES

    def read(self, value: Any, depth: int) -> Type:
        self.left -= 1
        is_small = depth < MAX_CONSTANT_DEPTH
        shape: Shape
        if is_object(value) and is_small and len(value) <= self.left:
            fields = {name: Field(self.read(member, depth + 1)) for name, member in value.items()}
            shape = Object(fields=fields, rest=NEVER)
        elif is_array(value) and is_small and len(value) <= self.left:
            shape = Array(prefix=tuple([self.read(member, depth + 1) for member in value]), rest=NEVER)
        elif is_object(value) or is_array(value):
            shape = replace(make_whole(kind_of(value)), vague=True)
        else:
            shape = make_scalar(kind_of(value), [value])
        return Type((shape,))


def kind_of(value: Any) -> Kind:
    """The kind of a JSON value."""
    match value:
        case None:
            return Kind.NULL
        case bool():
            return Kind.BOOLEAN
        case int():
            return Kind.INTEGER
        case float():
            return Kind.INTEGER if value.is_integer() else Kind.FRACTION
        case str():
            return Kind.STRING
        case list():
            return Kind.ARRAY
        case _:
            return Kind.OBJECT


def list_constants(shape: Shape, limit: int = 100) -> list[Any] | None:
    """All values of a shape, if they are few and known; else `None`."""
    if not shape.is_exact:
        return None
    match shape:
        case Scalar(kind=Kind.NULL):
            return [None]
        case Scalar(kind=Kind.BOOLEAN, values=None):
            return [False, True]
        case Scalar(values=values):
            return None if values is None or len(values) > limit else list(values)
        case Array(prefix=prefix, rest=rest) if rest.is_never:
            elements = _list_parts(prefix)
            return None if elements is None else [elements]
        case Object(fields=fields, rest=rest) if rest.is_never:
            if not all(field.required for field in fields.values()):
                return None
            members = _list_parts([field.type for field in fields.values()])
            return None if members is None else [dict(zip(fields, members, strict=True))]
        case _:
            return None


def _list_parts(types: Iterable[Type]) -> list[Any] | None:
    found: list[Any] = []
    for type in types:
        constant = constant_of(type)
        if constant is None:
            return None
        found.append(constant[0])
    return found


def constant_of(type: Type) -> tuple[Any] | None:
    """The one value of a type that has only one; else `None`."""
    found = list_constants(type.shapes[0], 1) if len(type.shapes) == 1 else None
    return (found[0],) if found and len(found) == 1 else None
