"""Paths into JSON: how they are written, and how they are followed through raw bytes.

A path that begins with `$` is `$` followed by `.field`, `[n]` or `["field"]`; any other string is one field name, dots
and all. Following a path decodes one level at a time and only what lies on the way, so the value at its end is the very
digits that came in. Knows nothing of flows; above it lies `expression`.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import msgspec
from msgspec import Raw

Path: TypeAlias = tuple[str | int, ...]
"""Field names and array indexes, from the root; `()` is the whole value."""

_SEGMENT: Final = re.compile(
    r"""\.(?P<field>[^.\[\]"'\s]+)"""
    r"""|\[(?P<index>0|[1-9][0-9]{0,17})\]"""
    r"""|\[(?P<double>"(?:[^"\\]|\\.)*")\]"""
    r"""|\['(?P<single>[^'\\]*)'\]"""
)
_object = msgspec.json.Decoder(dict[str, Raw])
_array = msgspec.json.Decoder(list[Raw])


MAX_QUOTED: Final = 200
"""How much of a path a message quotes."""


class PathError(ValueError):
    """A path that does not parse; the message says where it stops making sense."""


def parse_path(text: str) -> Path:
    """Parse a path as it is written in a flow.

    Args:
        text: For example `$`, `$.rows[0]["first name"]`, or `rows`, which is the one field of that name.

    Raises:
        PathError: The text begins with `$` and goes on with something that is not a path.
    """
    if not text.startswith("$"):
        return (text,)
    segments: list[str | int] = []
    position = 1
    while position < len(text):
        match = _SEGMENT.match(text, position)
        if match is None:
            raise PathError(
                f"The path {_shorten(text)} is not understood from character {position} on "
                f"({_shorten(text[position:])}): "
                'after "$" write .field, [0] or ["any name"].'
            )
        segments.append(_read_segment(match, text))
        position = match.end()
    return tuple(segments)


def _read_segment(match: re.Match[str], text: str) -> str | int:
    if (field := match["field"]) is not None:
        return field
    if (index := match["index"]) is not None:
        return int(index)
    if (single := match["single"]) is not None:
        return single
    try:
        return msgspec.json.decode(match["double"], type=str)
    except (msgspec.MsgspecError, UnicodeError):
        name = _shorten(match["double"])
        raise PathError(f"The path {_shorten(text)} has a field name that is no JSON string: {name}.") from None


def _shorten(text: str) -> str:
    return repr(text) if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]!r}…"


def format_path(path: Path) -> str:
    """Write a path so that `parse_path` reads it back."""
    written = "$"
    for segment in path:
        if isinstance(segment, int):
            written += f"[{segment}]"
        elif _SEGMENT.fullmatch(f".{segment}"):
            written += f".{segment}"
        else:
            written += f"[{msgspec.json.encode(segment).decode()}]"
    return written


def follow_path(path: Path, value: bytes) -> bytes | None:
    """Find the value at the end of a path.

    Args:
        path: A parsed path; `()` gives `value` itself, the same object.
        value: Raw JSON.

    Returns:
        The raw JSON found there, copied out of `value`; `None` if nothing is there.
    """
    found: bytes | Raw = value
    for segment in path:
        try:
            found = _object.decode(found)[segment] if isinstance(segment, str) else _array.decode(found)[segment]
        except (LookupError, msgspec.MsgspecError, RecursionError):
            return None
    return bytes(found)
