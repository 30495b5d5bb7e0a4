"""JSON as people read it: a tree that folds, digit for digit, escaped, and no more of it than a page bears."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, cast

from markupsafe import Markup, escape

MAX_BYTES: Final = 256 * 1024
"""What is larger is shown in part, as text."""

MAX_ENTRIES: Final = 200
"""Of one array or object; the rest is counted."""

MAX_DEPTH: Final = 40
OPEN_DEPTH: Final = 3
OPEN_ENTRIES: Final = 20
PREVIEW_CHARACTERS: Final = 120


class Number(str):
    """A number as it was written."""


def show_json(raw: bytes) -> Markup:
    """A value as a tree of `<details>`."""
    if len(raw) > MAX_BYTES:
        text = raw[:MAX_BYTES].decode(errors="replace")
        note = f"The first {MAX_BYTES // 1024} KiB of {len(raw):,} bytes"
        return Markup('<p class="note">{}</p><pre class="json">{}</pre>').format(note, text)
    try:
        value = json.loads(raw, parse_int=Number, parse_float=Number)
    except (ValueError, RecursionError):
        return Markup('<pre class="json">{}</pre>').format(raw.decode(errors="replace"))
    return Markup('<div class="json">{}</div>').format(Markup("").join(_show(value, 0)))


def preview_json(raw: bytes) -> str:
    """The beginning of a value, on one line."""
    text = raw[: 4 * PREVIEW_CHARACTERS].decode(errors="replace")
    return text if len(text) <= PREVIEW_CHARACTERS else text[:PREVIEW_CHARACTERS] + "…"


def _show(value: Any, depth: int) -> Iterator[Markup]:
    match value:
        case dict() if value:
            fields = cast(dict[str, Any], value)
            yield from _show_many(fields.items(), len(fields), "{", "}", depth)
        case list() if value:
            elements = cast(Sequence[Any], value)
            yield from _show_many(((None, element) for element in elements), len(elements), "[", "]", depth)
        case _:
            yield _show_leaf(value)


def _show_many(
    entries: Iterable[tuple[str | None, Any]], count: int, start: str, end: str, depth: int
) -> Iterator[Markup]:
    if depth >= MAX_DEPTH:
        yield Markup('<span class="j-note">… nested more deeply</span>')
        return
    noun = ("field" if start == "{" else "element") + ("" if count == 1 else "s")
    opened = Markup(" open") if depth < OPEN_DEPTH and count <= OPEN_ENTRIES else Markup("")
    yield Markup("<details{}><summary>{}<span class=j-note>{} {}</span></summary><ul>").format(
        opened, start, count, noun
    )
    for number, (key, element) in enumerate(entries):
        if number == MAX_ENTRIES:
            yield Markup('<li class="j-note">… and {} more</li>').format(count - number)
            break
        yield Markup("<li>")
        if key is not None:
            yield Markup('<span class="j-key">{}</span>: ').format(json.dumps(key, ensure_ascii=False))
        yield from _show(element, depth + 1)
        yield Markup("</li>")
    yield Markup("</ul>{}</details>").format(end)


def _show_leaf(value: Any) -> Markup:
    match value:
        case Number():
            kind, text = "number", str(value)
        case str():
            kind, text = "string", json.dumps(value, ensure_ascii=False)
        case _:
            kind, text = "word", json.dumps(value)
    return Markup('<span class="j-{}">{}</span>').format(kind, escape(text))
