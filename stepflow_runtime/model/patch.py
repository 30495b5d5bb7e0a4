"""Changes to JSON values, as JSON: merge patches (RFC 7396) and JSON patches (RFC 6902).

What is patched is not altered, nor is the patch.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from stepflow_runtime.model.json_value import count_values, is_array, is_equal, is_object
from stepflow_runtime.model.pointer import split

MAX_COPIED: Final = 100_000
"""How many values the copies of one patch may hold: each may double what is there."""


class PatchError(ValueError):
    """A patch that is malformed or does not fit the value; nothing was changed.

    Args:
        message: Why.
        operation: Which operation of a JSON patch it is about, if about one.
    """

    def __init__(self, message: str, operation: int | None = None) -> None:
        super().__init__(message)
        self.operation = operation


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a merge patch: objects are merged, `null` removes a field, anything else replaces."""
    if not is_object(patch):
        return patch
    merged = dict(target) if is_object(target) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def json_patch(target: Any, operations: Any) -> Any:
    """Apply a JSON patch: its operations in order, all of them or none.

    Raises:
        PatchError: An operation is unknown or does not apply; the message says which one.
    """
    if not is_array(operations):
        raise PatchError("A JSON patch is a list of operations.")
    value = copy.deepcopy(target)
    copied = 0
    for index, operation in enumerate(operations):
        try:
            if is_object(operation) and operation.get("op") == "copy":
                copied += count_values(_find(value, _read_pointer(operation, "from")))
                if copied > MAX_COPIED:
                    raise PatchError(f"The copies of this patch hold more than {MAX_COPIED} values; make fewer.")
            value = _operate(value, operation)
        except (PatchError, ValueError) as error:
            raise PatchError(f"Operation {index} cannot be applied: {error}", index) from None
    return value


def _operate(document: Any, operation: Any) -> Any:
    if not is_object(operation):
        raise PatchError("An operation is an object with op and path.")
    path = _read_pointer(operation, "path")
    match operation.get("op"):
        case "add":
            return _add(document, path, _read_value(operation))
        case "remove":
            return _remove(document, path)
        case "replace":
            _find(document, path)
            return _add(_remove(document, path), path, _read_value(operation)) if path else _read_value(operation)
        case "move":
            source = _read_pointer(operation, "from")
            if path[: len(source)] == source and path != source:
                raise PatchError("A value cannot be moved into itself.")
            value = _find(document, source)
            return _add(_remove(document, source), path, value)
        case "copy":
            return _add(document, path, copy.deepcopy(_find(document, _read_pointer(operation, "from"))))
        case "test":
            if not is_equal(_find(document, path), _read_value(operation)):
                raise PatchError(f"The value at {operation['path']!r} is not the one that was tested for.")
            return document
        case unknown:
            raise PatchError(f"The operation {unknown!r} is none of add, remove, replace, move, copy, test.")


def _read_pointer(operation: dict[str, Any], key: str) -> list[str]:
    text = operation.get(key)
    if not isinstance(text, str):
        raise PatchError(f"It needs {key!r}, a JSON pointer.")
    return split(text)


def _read_value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise PatchError('It needs a "value".')
    return copy.deepcopy(operation["value"])


def _find(document: Any, path: list[str]) -> Any:
    for token in path:
        if is_object(document) and token in document:
            document = document[token]
        elif is_array(document):
            document = document[_read_index(token, len(document) - 1)]
        else:
            raise PatchError(f"There is nothing at {'/' + '/'.join(path)!r}.")
    return document


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, token = _find(document, path[:-1]), path[-1]
    if is_object(parent):
        parent[token] = value
    elif is_array(parent):
        parent.insert(len(parent) if token == "-" else _read_index(token, len(parent)), value)
    else:
        raise PatchError(f"Nothing can be added at {'/' + '/'.join(path)!r}.")
    return document


def _remove(document: Any, path: list[str]) -> Any:
    _find(document, path)
    if not path:
        return None
    parent, token = _find(document, path[:-1]), path[-1]
    del parent[token if is_object(parent) else int(token)]
    return document


def _read_index(token: str, last: int) -> int:
    if not (token.isascii() and token.isdecimal()) or (token != "0" and token.startswith("0")) or int(token) > last:
        raise PatchError(f"{token!r} is no index of a list whose last one here is {last}.")
    return int(token)
