"""A line of a file as errors quote it, with what is meant underlined.

     5 |     input: {$step: tow}
       |                    ^^^

Pure text: it knows neither YAML nor flows; `loader` finds the places.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

MAX_WIDTH: Final = 120
"""Of a quoted line; a longer one is cut on both sides of the place."""


class Place(Struct, frozen=True):
    """Where something stands in a text.

    Args:
        line, column: Counted from 1.
        width: How many characters of the line belong to it.
    """

    line: int
    column: int
    width: int = 1

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


def quote(text: str, place: Place) -> str:
    """The line of a place, with its number, and the place underlined; nothing if there is no such line."""
    lines = text.split("\n")
    if not 0 < place.line <= len(lines):
        return ""
    line = lines[place.line - 1].rstrip("\r").replace("\t", " ")
    start = place.column - 1
    first = max(0, start - MAX_WIDTH // 2) if len(line) > MAX_WIDTH else 0
    shown = line[first : first + MAX_WIDTH]
    begin, end = ("…" if first else ""), ("…" if first + MAX_WIDTH < len(line) else "")
    width = max(1, min(place.width, len(shown) - (start - first)))
    number = f"{place.line:>6} | "
    return f"{number}{begin}{shown}{end}\n{' ' * 6} | {' ' * (start - first + len(begin))}{'^' * width}"
