"""JSON values as Python holds them: what tells an object and an array from the rest, for people and type checkers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a JSON value is an object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Whether a JSON value is an array."""
    return isinstance(value, list)


def is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether a Python value is written as an array: a tuple is, too."""
    return isinstance(value, list | tuple)


def count_values(value: object) -> int:
    """How many values there are in a value, itself included."""
    count, rest = 1, [value]
    while rest:
        one = rest.pop()
        members = list(one.values()) if is_object(one) else one if is_array(one) else []
        count += len(members)
        rest += [member for member in members if is_object(member) or is_array(member)]
    return count


def is_equal(left: object, right: object) -> bool:
    """Whether two values are the same JSON: `1` equals `1.0`, as numbers do, but not `true`."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if is_object(left) and is_object(right):
        return left.keys() == right.keys() and all(is_equal(member, right[key]) for key, member in left.items())
    if is_array(left) and is_array(right):
        return len(left) == len(right) and all(map(is_equal, left, right))
    return left == right
