"""Types of JSON Schemas.

Understood are `type`, `properties`, `required`, `items`, `enum`, `const`, `anyOf`, `oneOf`, `allOf`, `$ref` within the
document, `additionalProperties` and `nullable`. Whatever else there is can only make a type narrower: it is kept as
`extra` where it stands for itself, and else makes the type vague. How much is read is bounded; what is beyond the bound
is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypedDict

from msgspec import UNSET

from stepflow_runtime.model.json_value import is_array, is_object
from stepflow_runtime.model.pointer import split
from stepflow_runtime.model.types.constants import kind_of, type_of
from stepflow_runtime.model.types.lattice import (
    ANY,
    MAX_SHAPES,
    NEVER,
    UNKNOWN,
    Array,
    Budget,
    Field,
    Kind,
    Object,
    Scalar,
    Shape,
    Type,
    intersect,
    make_scalar,
    make_whole,
    narrow,
    unite,
)

MAX_SCHEMAS: Final = 2000
"""How many schemas within one are read."""

MAX_PAIRS: Final = 5000
"""How many pairs of shapes are compared to find what several of them have in common."""

MAX_DEPTH: Final = 40
"""How deeply they are read."""

_DIALECTS: Final = ("2020-12/schema", "2019-09/schema", "draft-07/schema", "draft-06/schema")
_REFERENCES_STAND_ALONE: Final = ("draft-07/schema", "draft-06/schema")
"""In these dialects nothing beside a `$ref` counts."""

_UNDERSTOOD: Final = frozenset(
    {"type", "properties", "required", "items", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "nullable"}
    | {"additionalProperties", "prefixItems", "patternProperties"}
)
_ANNOTATIONS: Final = frozenset(
    {"title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment"}
    | {"$schema", "$id", "$anchor", "$defs", "definitions", "is_secret", "isSecret", "env_var", "envVar"}
)
_APPLIES_TO: Final[Mapping[str, frozenset[Kind]]] = {
    **dict.fromkeys(("minLength", "maxLength", "pattern", "contentEncoding"), frozenset({Kind.STRING})),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        frozenset({Kind.INTEGER, Kind.FRACTION}),
    ),
    **dict.fromkeys(("items", "prefixItems"), frozenset({Kind.ARRAY})),
    **dict.fromkeys(
        ["minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains", "unevaluatedItems"],
        frozenset({Kind.ARRAY}),
    ),
    **dict.fromkeys(
        ["properties", "required", "additionalProperties", "patternProperties", "unevaluatedProperties"],
        frozenset({Kind.OBJECT}),
    ),
    **dict.fromkeys(
        ["minProperties", "maxProperties", "propertyNames", "dependentRequired", "dependentSchemas"],
        frozenset({Kind.OBJECT}),
    ),
}
_REFERRING: Final = frozenset(
    {"$ref", "$dynamicRef", "$recursiveRef", "$id", "$anchor", "$schema", "unevaluatedItems", "unevaluatedProperties"}
)
"""What means something else elsewhere."""

_KINDS: Final[Mapping[str, frozenset[Kind]]] = {
    **{kind.value: frozenset({kind}) for kind in Kind if kind is not Kind.FRACTION},
    "number": frozenset({Kind.INTEGER, Kind.FRACTION}),
}
_ALL_KINDS: Final = frozenset(Kind)


def read_schema(schema: Any) -> Type:
    """The type that a JSON Schema describes; unknown if there is none (`UNSET`, `None`)."""
    if schema is UNSET or schema is None:
        return UNKNOWN
    return _Reader(schema).read(schema, ())


class _Kept(TypedDict):
    extra: Mapping[str, Any]
    vague: bool


class _Reader:
    """Reads one document.

    Args:
        root: All of it: where references lead.
    """

    def __init__(self, root: Any) -> None:
        self.root = root
        self.budget = Budget(MAX_SCHEMAS)
        self.pairs = Budget(MAX_PAIRS)
        name = root.get("$schema") if is_object(root) else None
        dialect = str(name or _DIALECTS[0]).rstrip("#")
        self.is_known = dialect.endswith(_DIALECTS)
        self.is_current = dialect.endswith(_DIALECTS[0])
        self.references_stand_alone = dialect.endswith(_REFERENCES_STAND_ALONE)

    def read(self, schema: Any, within: tuple[str, ...]) -> Type:
        """The type of a schema; `within`: the references that led here, from the outside in."""
        if schema is True or schema == {}:
            return ANY
        if schema is False:
            return NEVER
        is_foreign = is_object(schema) and "$id" in schema and schema is not self.root
        if not is_object(schema) or len(within) > MAX_DEPTH or is_foreign or not self.is_known:
            return UNKNOWN
        if not self.budget.take():
            return UNKNOWN
        try:
            return self.read_object(schema, within)
        except _NotUnderstood:
            return UNKNOWN

    def read_object(self, schema: dict[str, Any], within: tuple[str, ...]) -> Type:
        if "$ref" in schema:
            found = self.resolve(schema["$ref"], within)
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            if self.references_stand_alone or not rest:
                return found
            return self.intersect(found, self.read_object(rest, within))
        found = self.read_own(schema, (*within, ""))
        for part in _read_list(schema, "allOf"):
            found = self.intersect(found, self.read(part, (*within, "")))
        if "anyOf" in schema:
            found = self.intersect(found, unite(self.read(part, (*within, "")) for part in _read_list(schema, "anyOf")))
        if "oneOf" in schema:
            found = self.intersect(found, self.read_one_of(schema["oneOf"], within))
        if schema.get("nullable") is True:
            found = unite([found, Type((Scalar(kind=Kind.NULL, vague=True),))])
        return found

    def read_one_of(self, parts: Any, within: tuple[str, ...]) -> Type:
        types = [self.read(part, (*within, "")) for part in _read_list({"oneOf": parts}, "oneOf")]
        kinds = [shape.kind for type in types for shape in type.shapes]
        are_apart = not any(type.is_open for type in types) and len(set(kinds)) == len(kinds)
        return unite(types) if are_apart else self.narrow(unite(types), {"oneOf": parts})

    def intersect(self, left: Type, right: Type) -> Type:
        return intersect(left, right, self.pairs)

    def resolve(self, reference: Any, within: tuple[str, ...]) -> Type:
        if not isinstance(reference, str) or not reference.startswith("#") or reference in within:
            return UNKNOWN
        schema = self.root
        try:
            for token in split(reference[1:]):
                schema = schema[token] if is_object(schema) else schema[int(token)]
        except (LookupError, ValueError, TypeError):
            return UNKNOWN
        return self.read(schema, (*within, reference))

    def read_own(self, schema: dict[str, Any], within: tuple[str, ...]) -> Type:
        """The type by all keywords but those that combine schemas."""
        kinds = _read_kinds(schema)
        others = {key: value for key, value in schema.items() if key not in _UNDERSTOOD and key not in _ANNOTATIONS}
        constrained = frozenset[Kind]().union(*(_APPLIES_TO.get(key, ()) for key in schema))
        if kinds == _ALL_KINDS and not constrained and not others and not {"enum", "const"} & schema.keys():
            return ANY
        shapes: list[Shape] = []
        for kind in Kind:
            if kind in kinds:
                keywords = {key: value for key, value in others.items() if kind in _APPLIES_TO.get(key, _ALL_KINDS)}
                shape = self.read_shape(kind, schema, within)
                if shape is not None:
                    is_aside = "type" not in schema and bool(constrained) and kind not in constrained
                    shapes += self.narrow(Type((shape,)), keywords, vague=is_aside).shapes
        found = Type(tuple(shapes))
        for values in [
            *([schema["enum"]] if "enum" in schema else []),
            *([[schema["const"]]] if "const" in schema else []),
        ]:
            found = self.intersect(found, _read_values(values))
        return found

    def read_shape(self, kind: Kind, schema: dict[str, Any], within: tuple[str, ...]) -> Shape | None:
        match kind:
            case Kind.ARRAY:
                return self.read_array(schema, within)
            case Kind.OBJECT:
                return self.read_fields(schema, within)
            case _:
                return make_whole(kind)

    def read_array(self, schema: dict[str, Any], within: tuple[str, ...]) -> Array:
        if "prefixItems" in schema or is_array(schema.get("items")):
            return Array(rest=UNKNOWN, **self.keep_together(schema, "prefixItems", "items"))
        return Array(rest=self.read(schema.get("items", True), within))

    def read_fields(self, schema: dict[str, Any], within: tuple[str, ...]) -> Object | None:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not is_object(properties) or not is_array(required):
            raise _NotUnderstood
        types = {name: self.read(part, within) for name, part in properties.items()}
        by_pattern = "patternProperties" in schema
        rest = UNKNOWN if by_pattern else self.read(schema.get("additionalProperties", True), within)
        named = [*types, *(name for name in required if isinstance(name, str) and name not in types)]
        fields = {name: Field(types.get(name, rest), name in required) for name in named}
        if any(field.required and field.type.is_never for field in fields.values()):
            return None
        if not by_pattern:
            return Object(fields=fields, rest=rest)
        kept = self.keep_together(schema, "patternProperties", "properties", "additionalProperties")
        return Object(fields=fields, rest=rest, **kept)

    def narrow(self, type: Type, keywords: Mapping[str, Any], *, vague: bool = False) -> Type:
        kept = self.keep(keywords)
        return narrow(type, kept["extra"], vague=vague or kept["vague"])

    def keep(self, keywords: Mapping[str, Any]) -> _Kept:
        """What of these keywords means the same anywhere, and whether there is more: what refers to its document does
        not, and what an older dialect says may not."""
        kept = {key: value for key, value in keywords.items() if self.is_current and not _refers({key: value})}
        return {"extra": kept, "vague": len(kept) < len(keywords)}

    def keep_together(self, schema: dict[str, Any], *keys: str) -> _Kept:
        """The same for keywords of which none means the same without the others."""
        kept = self.keep({key: schema[key] for key in keys if key in schema})
        return {"extra": {}, "vague": True} if kept["vague"] else kept


class _NotUnderstood(Exception):
    """A keyword with a value that it cannot have."""


def _read_kinds(schema: dict[str, Any]) -> frozenset[Kind]:
    if "type" not in schema:
        return _ALL_KINDS
    names = schema["type"] if is_array(schema["type"]) else [schema["type"]]
    if not all(isinstance(name, str) and name in _KINDS for name in names):
        raise _NotUnderstood
    return frozenset[Kind]().union(*(_KINDS[name] for name in names))


def _read_list(schema: dict[str, Any], key: str) -> Iterable[Any]:
    parts = schema.get(key, [])
    if not is_array(parts) or (key in schema and not parts):
        raise _NotUnderstood
    return parts


def _read_values(values: Any) -> Type:
    if not is_array(values):
        raise _NotUnderstood
    scalars: dict[Kind, list[Any]] = {}
    types: list[Type] = []
    for value in values:
        kind = kind_of(value)
        if kind in (Kind.ARRAY, Kind.OBJECT):
            types.append(type_of(value) if len(types) <= MAX_SHAPES else UNKNOWN)
        else:
            scalars.setdefault(kind, []).append(value)
    return unite([*types, *(Type((make_scalar(kind, some),)) for kind, some in scalars.items())])


def _refers(value: Any) -> bool:
    rest = [value]
    while rest:
        one = rest.pop()
        if is_object(one):
            if not _REFERRING.isdisjoint(one):
                return True
            rest.extend(one.values())
        elif is_array(one):
            rest.extend(one)
    return False
