"""Two JSON values, shown by the lines in which they differ."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

import msgspec


def diff_json(before: Any, after: Any, name_before: str, name_after: str) -> Iterator[str]:
    """The lines in which they differ, with some around them; the order of fields does not count."""
    lines = difflib.unified_diff(_lines(before), _lines(after), name_before, name_after, lineterm="", n=2)
    return (line for line in lines if not line.startswith("@@"))


def _lines(value: Any) -> list[str]:
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2).decode().splitlines()
