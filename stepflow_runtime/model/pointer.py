"""JSON pointers (RFC 6901): how findings and patches name a place in a JSON value."""

from __future__ import annotations


def extend(pointer: str, *tokens: str | int) -> str:
    """The pointer to a member of what `pointer` points to."""
    return pointer + "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in tokens)


def split(pointer: str) -> list[str]:
    """The tokens of a pointer, unescaped; `""` has none.

    Raises:
        ValueError: The pointer is neither empty nor begins with `/`.
    """
    if not pointer:
        return []
    if not pointer.startswith("/"):
        raise ValueError(f'The JSON pointer {pointer!r} must be empty or begin with "/".')
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]
