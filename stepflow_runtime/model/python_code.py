"""Python expressions laid out as a formatter would: on one line where that fits, else a line for each part."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from msgspec import Struct

from stepflow_runtime.model.json_value import is_array, is_object

WIDTH: Final = 120


class Code(Struct, frozen=True):
    """Code that stays on one line."""

    text: str


class Call(Struct, frozen=True):
    """A call.

    Args:
        function: Its name.
        arguments: Each with its keyword, `None` if it has none.
    """

    function: str
    arguments: Sequence[Argument]


Node: TypeAlias = Any
"""`Code`, `Call`, or JSON in whose arrays and objects there may be some."""

Argument: TypeAlias = tuple[str | None, Node]


def layout(node: Node, prefix: str = "") -> str:
    """An expression as code.

    Args:
        node: The expression.
        prefix: What stands before it on its first line.
    """
    return prefix + _layout(node, "", WIDTH - len(prefix))


def quote(text: str) -> str:
    """A string literal; JSON's escapes are Python's, too."""
    return json.dumps(text, ensure_ascii=False)


def _layout(node: Node, indent: str, room: int) -> str:
    """The code, whose first line has `room` characters and whose further ones begin with `indent`."""
    line = _write_line(node)
    if len(line) <= room or not _read_parts(node)[1]:
        return line
    opening, parts, closing = _read_parts(node)
    deeper = indent + "    "
    lines = [opening]
    for prefix, part in parts:
        room = WIDTH - len(deeper) - len(prefix) - 1
        lines.append(f"{deeper}{prefix}{_layout(part, deeper, room)},")
    return "\n".join([*lines, indent + closing])


def _write_line(node: Node) -> str:
    if isinstance(node, Code):
        return node.text
    if isinstance(node, str):
        return quote(node)
    if not isinstance(node, Call) and not is_object(node) and not is_array(node):
        return repr(node)
    opening, parts, closing = _read_parts(node)
    return opening + ", ".join(prefix + _write_line(part) for prefix, part in parts) + closing


def _read_parts(node: Node) -> tuple[str, list[tuple[str, Node]], str]:
    """What opens a bracket, what is in it, each with what stands before it, and what closes it."""
    if isinstance(node, Call):
        return f"{node.function}(", [(f"{name}=" if name else "", part) for name, part in node.arguments], ")"
    if is_object(node):
        return "{", [(f"{quote(key)}: ", part) for key, part in node.items()], "}"
    if is_array(node):
        return "[", [("", part) for part in node], "]"
    return "", [], ""
