"""How many steps a check against a JSON Schema can take, before it is begun: what checks cannot be interrupted.

A schema may send one value down several branches, and each of them on to the value's parts (`anyOf` of kinds that hold
each other): then the steps double with every level of the value. Most schemas do not, and have a bound for each value
by themselves (`steps_per_value`), so that a check costs nothing more than a multiplication. For the others the steps
are counted on the very value: every pair of a place in the schema and a part of the value once, which is quick also
where the check is not. Counted is as if nothing were ever decided early, so the count is never too low.

Pure; knows nothing of validators. Above it is `schema`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote

from stepflow_runtime.model.json_value import is_array, is_object
from stepflow_runtime.model.pointer import split

MAX_PAIRS: Final = 200_000
"""Pairs of a place in the schema and a part of the value that are counted; more is more than any limit."""

BACKTRACKING_WEIGHT: Final = 10_000
"""Steps that a pattern with look-around or back-references takes, as it has a budget and no bound of its own."""

_MAX_ROUNDS: Final = 200
_MAX_ROUND_STEPS: Final = 2_000_000
"""How long it is tried to find a bound for all values; without one, steps are counted for each value."""

_MAX_BOUND: Final = 1 << 60

_HERE: Final = ("not", "if", "then", "else", "propertyNames")
_HERE_LISTS: Final = ("allOf", "anyOf", "oneOf")
_HERE_MAPS: Final = ("dependentSchemas", "dependencies")
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_OTHERS: Final = ("additionalProperties", "additionalItems", "items", "unevaluatedProperties", "unevaluatedItems")

_FOREIGN_WEIGHT: Final = 500
"""Steps that a schema takes which everybody knows and which is not in the document: that of JSON Schema itself."""

_BACKTRACKS: Final = re.compile(r"\(\?(?:[=!>(]|<[=!])|\\[1-9k]|[*+?}]\+")

Key = str | int


class SchemaTooLarge(ValueError):
    """A schema that cannot be bounded: it refers to itself without going into the value, in more ways than one."""


class _Place:
    """One schema within a schema.

    Attributes:
        weight: Steps that it takes by itself.
        here: Schemas that the same value goes to.
        parts: Schemas that a member of the value goes to, by its name or index.
        others: Those that all other members go to.
        every: Those that every member goes to.
    """

    __slots__ = ("every", "here", "others", "parts", "weight")

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.here: list[_Place] = []
        self.parts: dict[Key, list[_Place]] = {}
        self.others: list[_Place] = []
        self.every: list[_Place] = []

    def leading_to(self, key: Key) -> list[_Place]:
        """The schemas that a member goes to."""
        return [*self.parts.get(key, self.others), *self.every]


class Costs:
    """What checks against a schema can cost.

    Args:
        schema: The schema as JSON; not nested more deeply than Python can follow.

    Raises:
        SchemaTooLarge: No bound can be found.

    Attributes:
        steps_per_value: How many steps any value, and each value within it, can take; `None` if that grows with the
            depth of the value.
    """

    def __init__(self, schema: Any) -> None:
        reader = _Reader(schema)
        self._root = reader.root
        _refuse_circles(reader.places)
        self.steps_per_value = _find_bound(reader.places, self._root)

    def count(self, value: Any) -> int | None:
        """How many steps the check of a value takes at most; `None` if they are too many to be counted."""
        counted: dict[tuple[int, int], int] = {}
        stack: list[tuple[_Place, Any, list[tuple[_Place, Any]] | None]] = [(self._root, value, None)]
        while stack:
            place, part, needed = stack.pop()
            pair = id(place), id(part)
            if needed is not None:
                counted[pair] = place.weight + sum([counted[id(other), id(member)] for other, member in needed])
            elif pair not in counted:
                if len(counted) >= MAX_PAIRS:
                    return None
                counted[pair] = 0
                needed = [(other, part) for other in place.here]
                for key, member in _iterate_members(part):
                    needed += [(other, member) for other in place.leading_to(key)]
                stack.append((place, part, needed))
                stack += [(other, member, None) for other, member in needed]
        return counted[id(self._root), id(value)]


def _iterate_members(value: Any) -> Iterable[tuple[Key, Any]]:
    if is_object(value):
        return value.items()
    return enumerate(value) if is_array(value) else ()


def _find_bound(places: list[_Place], root: _Place) -> int | None:
    """The most steps that any part of a value can take, however deep it lies; `None` if there is no such number.

    Steps at one depth follow from those at the depth above it, so once the same numbers come again, all were seen.
    """
    order = list(_in_order(places))
    number = {place: index for index, place in enumerate(order)}
    here = [[number[other] for other in place.here if other is not place] for place in order]
    below = [
        [[number[other] for other in ways] for ways in (*map(place.leading_to, place.parts), place.leading_to(-1))]
        for place in order
    ]
    edges = sum(map(len, here)) + sum(len(ways) for choices in below for ways in choices)
    at_depth: tuple[int, ...] = ()
    seen: set[tuple[int, ...]] = set()
    bound = 0
    for _ in range(min(_MAX_ROUNDS, 2 + _MAX_ROUND_STEPS // (len(places) + edges))):
        found: list[int] = []
        for index, place in enumerate(order):  # those that a value goes on to come first
            own = max(sum([at_depth[other] for other in ways]) for ways in below[index]) if at_depth else place.weight
            found.append(own + sum([found[other] for other in here[index]]))
        at_depth = tuple(found)
        bound = max(bound, at_depth[number[root]])
        if at_depth in seen:
            return bound
        if bound > _MAX_BOUND:
            return None
        seen.add(at_depth)
    return None


def _in_order(places: list[_Place]) -> Iterator[_Place]:
    """All places, each after those that its value goes on to."""
    seen: set[_Place] = set()
    for start in places:
        if start in seen:
            continue
        seen.add(start)
        stack = [(start, iter(start.here))]
        while stack:
            place, rest = stack[-1]
            following = next((other for other in rest if other not in seen), None)
            if following is None:
                stack.pop()
                yield place
            else:
                seen.add(following)
                stack.append((following, iter(following.here)))


def _refuse_circles(places: list[_Place]) -> None:
    done: set[_Place] = set()
    for place in _in_order(places):
        if any(other not in done and other is not place for other in place.here):
            raise SchemaTooLarge(
                "it refers to itself without going into the value; write what is meant, or put it beneath "
                "`properties` or `items`"
            )
        done.add(place)


class _Reader:
    """Makes places of a schema, and finds what its references refer to."""

    def __init__(self, schema: Any) -> None:
        self.places: list[_Place] = []
        self._made: dict[int, _Place] = {}
        self._pending: list[tuple[_Place, dict[str, Any]]] = []
        self._resources: dict[int, Any] = {id(schema): schema}
        self._anchors: dict[str, list[Any]] = {}
        self._collect_names(schema)
        self.root = self._make(schema)
        while self._pending:
            self._connect(*self._pending.pop())

    def _collect_names(self, schema: Any) -> None:
        rest = [schema]
        while rest:
            value = rest.pop()
            if is_object(value):
                for key in ("$anchor", "$dynamicAnchor", "$id", "id"):
                    name = value.get(key)
                    if isinstance(name, str) and (key.endswith("nchor") or name.startswith("#")):
                        self._anchors.setdefault(name.removeprefix("#"), []).append(value)
                    elif isinstance(name, str):
                        self._resources[id(value)] = value
                rest.extend(value.values())
            elif is_array(value):
                rest.extend(value)

    def _make(self, schema: Any) -> _Place:
        place = self._made.get(id(schema)) if is_object(schema) else None
        if place is not None:
            return place
        place = _Place(1)
        self.places.append(place)
        if is_object(schema):
            listed = [schema[key] for key in ("enum", "required") if is_array(schema.get(key))]
            patterns = [schema.get("pattern"), *_keys(schema.get("patternProperties"))]
            backtracking = sum(isinstance(one, str) and _BACKTRACKS.search(one) is not None for one in patterns)
            place.weight = 1 + len(schema) + sum(map(len, listed)) + backtracking * BACKTRACKING_WEIGHT
            self._made[id(schema)] = place
            self._pending.append((place, schema))
        return place

    def _make_foreign(self) -> _Place:
        place = _Place(_FOREIGN_WEIGHT)
        place.every = [place]
        self.places.append(place)
        return place

    def _connect(self, place: _Place, schema: dict[str, Any]) -> None:
        here = [schema[key] for key in _HERE if key in schema]
        for key in _HERE_LISTS:
            here += _members(schema.get(key))
        for key in _HERE_MAPS:
            here += [part for part in _values(schema.get(key)) if is_object(part)]
        place.here = [self._make(part) for part in here]
        for key in _REFERENCES:
            if isinstance(reference := schema.get(key), str):
                found = {id(part): part for part in self._find(reference)}
                place.here += [self._make(part) for part in found.values()] or [self._make_foreign()]
        properties = schema.get("properties")
        for name, part in properties.items() if is_object(properties) else ():
            place.parts[name] = [self._make(part)]
        for key in ("prefixItems", "items"):
            for index, part in enumerate(_members(schema.get(key))):
                place.parts.setdefault(index, []).append(self._make(part))
        place.others = [self._make(schema[key]) for key in _OTHERS if key in schema and not is_array(schema[key])]
        every = [*_values(schema.get("patternProperties")), *(schema[key] for key in ("contains",) if key in schema)]
        place.every = [self._make(part) for part in every]
        if "unevaluatedProperties" in schema or "unevaluatedItems" in schema:  # looks at what is here a second time
            place.here += [other for other in place.here if other is not place]

    def _find(self, reference: str) -> list[Any]:
        """What a reference may mean, perhaps too much: schemas are looked for by the last part of their names."""
        base, _, fragment = reference.partition("#")
        fragment = unquote(fragment)
        if fragment and not fragment.startswith("/"):
            return self._anchors.get(fragment, [])
        name = base.rpartition("/")[2]
        roots = [root for root in self._resources.values() if not base or _last_name(root) == name]
        return [schema for root in roots if (schema := _follow(root, fragment)) is not None]


def _last_name(resource: Any) -> str | None:
    """The last part of the name of a schema that has one."""
    name = (resource.get("$id") or resource.get("id")) if is_object(resource) else None
    return name.rstrip("#").rpartition("/")[2] if isinstance(name, str) else None


def _follow(schema: Any, pointer: str) -> Any:
    try:
        for token in split(pointer):
            schema = schema[token] if is_object(schema) else schema[int(token)]
    except (LookupError, ValueError, TypeError):
        return None
    return schema


def _members(value: Any) -> list[Any]:
    return value if is_array(value) else []


def _keys(value: Any) -> Iterable[Any]:
    return value.keys() if is_object(value) else ()


def _values(value: Any) -> Iterable[Any]:
    return value.values() if is_object(value) else ()
