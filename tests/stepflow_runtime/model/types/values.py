"""Schemas and values for the tests of types: from a world so small that values fit schemas often."""

from __future__ import annotations

from itertools import product
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st

from stepflow_runtime.model.json_value import is_object
from stepflow_runtime.model.schema import Schema, SchemaError

Strategy: TypeAlias = st.SearchStrategy[Any]

SCALARS: Final[list[Any]] = [None, True, False, 0, 1, 2, 1.0, 0.5, "", "x", "yy"]
_SMALL: Final[list[Any]] = [*SCALARS, [], [0], ["x"], ["x", None], {}, {"a": 0}, {"a": "x"}, {"b": None}, [[]]]
VALUES: Final[list[Any]] = [
    *_SMALL,
    *([one, other] for one, other in product(_SMALL[:14], repeat=2)),
    *({"a": one} for one in _SMALL),
    *({"c": one} for one in SCALARS),
    *({"a": one, "b": other} for one, other in product(_SMALL[:16], repeat=2)),
    *({"a": {"b": one}} for one in SCALARS),
]
"""All the small values."""


def record(always: dict[str, Any], **optional: Strategy) -> Strategy:
    return st.fixed_dictionaries(always, optional=optional)


TYPES: Final = ["null", "boolean", "integer", "number", "string", "array", "object"]
_types: Strategy = st.sampled_from(TYPES)
_constants: Strategy = st.sampled_from(_SMALL)
_names: Strategy = st.sampled_from(["a", "b", "c"])
_plain: Strategy = st.one_of(
    st.booleans(),
    record({"type": _types}),
    record({"type": st.lists(_types, min_size=1, max_size=3, unique=True)}),
    record({"const": _constants}),
    record({"enum": st.lists(_constants, min_size=1, max_size=3)}),
    record({"type": st.just("string")}, minLength=st.integers(0, 2), pattern=st.just("x"), title=st.just("t")),
    record({}, minimum=st.integers(0, 2), type=st.just("number")),
    st.just({"$ref": "#/$defs/other"}),
    st.just({"$ref": "#"}),
    st.just({"$ref": "elsewhere"}),
)


def _nest(inner: Strategy) -> Strategy:
    parts: Strategy = st.lists(inner, min_size=1, max_size=3)
    fields: Strategy = st.dictionaries(_names, inner, max_size=3)
    objects = record(
        {"type": st.just("object")},
        properties=fields,
        required=st.lists(_names, max_size=2, unique=True),
        additionalProperties=inner,
        minProperties=st.integers(0, 1),
        patternProperties=st.dictionaries(st.just("a"), inner, max_size=1),
    )
    return st.one_of(
        objects,
        objects,
        record({}, properties=fields, required=st.lists(_names, max_size=2)),
        record({"type": st.just("array")}, items=inner, minItems=st.integers(0, 2)),
        record({"type": st.just("array"), "prefixItems": parts}, items=inner),
        record({"anyOf": parts}, type=_types),
        record({"oneOf": parts}),
        record({"allOf": parts}),
        record({"not": inner}, type=_types),
        record({"if": inner, "then": inner}),
        record({"allOf": st.just([{"$ref": "#/$defs/other"}])}, properties=fields),
    )


_bodies: Strategy = st.recursive(_plain, _nest, max_leaves=6)


def _complete(body: Any, other: Any) -> Any:
    return {**body, "$defs": {"other": other}} if is_object(body) else body


def is_usable(schema: Any) -> bool:
    """Whether the validator takes a schema: some of these refer to nothing, or to themselves."""
    try:
        Schema(schema)
    except SchemaError:
        return False
    return True


schemas: Strategy = st.builds(_complete, _bodies, _bodies).filter(is_usable)


_simple: Strategy = st.one_of(
    record({"type": st.sampled_from(["null", "boolean", "integer", "string"])}),
    st.sampled_from([{"type": ["string", "null"]}, {"type": ["boolean", "null"]}, {"enum": [None, "x"]}, {"const": 0}]),
)


def _nest_told(inner: Strategy) -> Strategy:
    fields: Strategy = st.dictionaries(_names, inner, min_size=1, max_size=2)
    return st.one_of(
        record(
            {"type": st.just("object"), "properties": fields},
            required=st.lists(_names, max_size=2, unique=True),
            additionalProperties=st.booleans(),
        ),
        record({"type": st.just("array"), "items": inner}),
        record({"anyOf": st.tuples(inner, _simple)}),
    )


_told: Strategy = st.recursive(_simple, _nest_told, max_leaves=4)
told: Strategy = st.one_of(_told, _told, _told, schemas)
"""Schemas that mostly say so much that something can be told of a part; those of `schemas` often say nothing."""


def list_values(schema: Any) -> list[Any]:
    """The small values that fit a schema."""
    compiled = Schema(schema)
    return [value for value in VALUES if compiled.is_valid(value)]
