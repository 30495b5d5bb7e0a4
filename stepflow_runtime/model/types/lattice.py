"""What a type is: the JSON values that a schema describes, as a union of shapes of single kinds.

A shape may be narrower than it looks: `extra` keeps the keywords that are not understood (`pattern`, `minimum`, `not`),
and `vague` says that there were some that could not be kept. So a type is never too narrow, and where all its shapes
are exact it is not too wide either. Two types are open: `ANY` is every value, by declaration, and `UNKNOWN` is what
nobody has told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

MAX_SHAPES: Final = 32
"""Of one type; what would have more is unknown."""

NO_EXTRA: Final[Mapping[str, Any]] = {}


class Kind(StrEnum):
    """The kinds of JSON values; none is a part of another."""

    NULL = "null"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    FRACTION = "fraction"
    """A number that is no integer."""
    STRING = "string"
    ARRAY = "array"
    OBJECT = "object"


class Shape(Struct, frozen=True, kw_only=True):
    """Values of one kind.

    Args:
        kind: The kind.
        extra: Further keywords of JSON Schema that these values obey.
        vague: Whether they obey others that are not known.
    """

    kind: Kind
    extra: Mapping[str, Any] = NO_EXTRA
    vague: bool = False

    @property
    def is_exact(self) -> bool:
        return not self.extra and not self.vague


class Scalar(Shape, frozen=True, kw_only=True):
    """`values`: the only ones; `None` for all of the kind."""

    values: frozenset[Any] | None = None


class Array(Shape, frozen=True, kw_only=True):
    """`prefix`: the first elements, which are all there; `rest`: what follows them, any number of times."""

    kind: Kind = Kind.ARRAY
    prefix: tuple[Type, ...] = ()
    rest: Type


class Field(Struct, frozen=True):
    type: Type
    required: bool = True


class Object(Shape, frozen=True, kw_only=True):
    """`rest`: the type of all fields that have no name here."""

    kind: Kind = Kind.OBJECT
    fields: Mapping[str, Field]
    rest: Type

    def find(self, name: str) -> Field:
        """The field of a name."""
        return self.fields.get(name) or Field(self.rest, False)


class Type(Struct, frozen=True):
    """Some JSON values: those of any of the shapes.

    Args:
        shapes: None for an open type, and for the one that has no values.
        openness: `any` or `unknown`; else empty.
    """

    shapes: tuple[Shape, ...] = ()
    openness: str = ""

    @property
    def is_open(self) -> bool:
        return bool(self.openness)

    @property
    def is_never(self) -> bool:
        return not self.shapes and not self.openness


ANY: Final = Type(openness="any")
UNKNOWN: Final = Type(openness="unknown")
NEVER: Final = Type()
NULL: Final = Type((Scalar(kind=Kind.NULL),))

ANY_ARRAY: Final = Array(rest=ANY)
ANY_OBJECT: Final = Object(fields={}, rest=ANY)


def make_whole(kind: Kind) -> Shape:
    """All values of a kind."""
    match kind:
        case Kind.ARRAY:
            return ANY_ARRAY
        case Kind.OBJECT:
            return ANY_OBJECT
        case _:
            return Scalar(kind=kind)


def narrow(type: Type, extra: Mapping[str, Any], *, vague: bool = False) -> Type:
    """The type, of which only those values are meant that also obey further keywords."""
    if type.is_open:
        if type is UNKNOWN or not (extra or vague):
            return type
        return Type(tuple(_narrow_shape(make_whole(kind), extra, vague) for kind in Kind))
    return Type(tuple(_narrow_shape(shape, extra, vague) for shape in type.shapes))


def _narrow_shape(shape: Shape, extra: Mapping[str, Any], vague: bool) -> Shape:
    return replace(shape, extra=_join_extras(shape.extra, extra), vague=shape.vague or vague)


def _join_extras(left: Mapping[str, Any], right: Mapping[str, Any]) -> Mapping[str, Any]:
    if not left or not right or left == right:
        return left or right
    if left.keys() & right.keys():
        return {"allOf": [left, right]}
    return {**left, **right}


def unite(types: Iterable[Type]) -> Type:
    """The values of all of these types."""
    types = list(types)
    for open_type in (ANY, UNKNOWN):
        if open_type in types:
            return open_type
    shapes: list[Shape] = []
    for shape in (shape for type in types for shape in type.shapes):
        if shape in shapes:
            continue
        same = next((n for n, other in enumerate(shapes) if _are_mergeable(shape, other)), None)
        if same is None:
            shapes.append(shape)
        else:
            shapes[same] = _merge(shapes[same], shape)
        if len(shapes) > MAX_SHAPES:
            return UNKNOWN
    return Type(tuple(shapes))


def _are_mergeable(left: Shape, right: Shape) -> bool:
    is_plain = isinstance(left, Scalar) and left.is_exact and right.is_exact
    return is_plain and left.kind is right.kind


def _merge(left: Shape, right: Shape) -> Shape:
    assert isinstance(left, Scalar)
    assert isinstance(right, Scalar)
    if left.values is None or right.values is None:
        return Scalar(kind=left.kind)
    return make_scalar(left.kind, left.values | right.values)


def make_scalar(kind: Kind, values: Iterable[Any]) -> Scalar:
    """The shape of some values that are all of one kind, neither arrays nor objects."""
    some = frozenset(map(int, values) if kind is Kind.INTEGER else values)
    is_whole = kind is Kind.NULL or (kind is Kind.BOOLEAN and len(some) > 1)
    return Scalar(kind=kind, values=None if is_whole else some)


class Budget:
    """How much may still be compared before the answer is that it is unknown.

    Args:
        left: Pairs of shapes.
    """

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self) -> bool:
        """Whether there is some left."""
        self.left -= 1
        return self.left >= 0


def intersect(left: Type, right: Type, budget: Budget) -> Type:
    """The values that both types have, or more, where the budget ends."""
    for type, rest in ((left, right), (right, left)):
        if type is ANY:
            return rest
    for type, rest in ((left, right), (right, left)):
        if type is UNKNOWN:
            return narrow(rest, NO_EXTRA, vague=True)
    found: list[Type] = []
    for one, other in ((one, other) for one in left.shapes for other in right.shapes if one.kind is other.kind):
        if not budget.take():
            return UNKNOWN
        shape = _intersect_shapes(one, other, budget)
        if shape is not None:
            found.append(Type((shape,)))
    return unite(found)


def _intersect_shapes(left: Shape, right: Shape, budget: Budget) -> Shape | None:
    found: Shape | None
    match left, right:
        case Scalar(), Scalar():
            values = left.values if right.values is None else right.values
            if left.values is not None and right.values is not None:
                values = left.values & right.values
            found = None if values is not None and not values else Scalar(kind=left.kind, values=values)
        case Array(), Array():
            found = _intersect_arrays(left, right, budget)
        case Object(), Object():
            found = _intersect_objects(left, right, budget)
        case _:
            raise AssertionError(f"shapes of {left.kind} and {right.kind}")
    extra, vague = _join_extras(left.extra, right.extra), left.vague or right.vague
    return None if found is None else replace(found, extra=extra, vague=vague)


def _intersect_arrays(left: Array, right: Array, budget: Budget) -> Array | None:
    longer, shorter = (left, right) if len(left.prefix) >= len(right.prefix) else (right, left)
    others = (*shorter.prefix, *[shorter.rest] * (len(longer.prefix) - len(shorter.prefix)))
    prefix = tuple([intersect(one, other, budget) for one, other in zip(longer.prefix, others, strict=True)])
    if any(element.is_never for element in prefix):
        return None
    return Array(prefix=prefix, rest=intersect(left.rest, right.rest, budget))


def _intersect_objects(left: Object, right: Object, budget: Budget) -> Object | None:
    fields: dict[str, Field] = {}
    for name in [*left.fields, *(name for name in right.fields if name not in left.fields)]:
        one, other = left.find(name), right.find(name)
        fields[name] = Field(intersect(one.type, other.type, budget), one.required or other.required)
        if fields[name].required and fields[name].type.is_never:
            return None
    return Object(fields=fields, rest=intersect(left.rest, right.rest, budget))
