"""Canonical JSON and the ids of blobs (PROTOCOL §3).

The canonical bytes of a value are compact JSON with keys sorted by code point, integers exact and floats as short as
they read back the same; `1` and `1.0` differ. What has no such form is refused: NaN, Infinity, lone surrogates,
duplicate keys, and nesting that a parser could not bear. A blob's id is the hash of these bytes.
"""

from __future__ import annotations

import math
import re
from itertools import accumulate
from typing import Any, Final, NoReturn

import blake3
import msgspec

from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.model.json_value import is_object, is_sequence
from stepflow_runtime.model.pointer import extend

MAX_DEPTH: Final = 900
"""How deeply arrays and objects may nest: a little less than the parsers bear (PROTOCOL §7)."""

_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder()
_BLOB_ID: Final = re.compile(r"blake3:[0-9a-f]{64}")
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_KEY_TOKEN: Final = re.compile(_STRING.pattern + rb"|[{}:]", re.DOTALL)
_BYTE: Final = re.compile(r"\(byte (\d+)\)")
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_LEVEL: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def canonical_json(value: Any) -> bytes:
    """Encode a JSON value canonically.

    Args:
        value: `None`, `bool`, `int`, `float`, `str`, and lists (or tuples) and dicts of them.

    Raises:
        RpcError: `INVALID_PARAMS` if something in it is no JSON, `LIMIT_EXCEEDED` if it nests too deeply.
    """
    try:
        _check(value, "", 0)
        return _encoder.encode(value)
    except RecursionError:
        _check_depth(MAX_DEPTH + 1)
        raise
    except (ValueError, msgspec.MsgspecError) as error:  # an integer beyond what Python converts
        _refuse(f"The value cannot be written as JSON: {error}.")


def _check(value: Any, pointer: str, depth: int) -> None:
    if value is None or isinstance(value, bool | int):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            _refuse(f"{_place(pointer)} is {value}, which JSON cannot hold; send null or a string instead.")
    elif isinstance(value, str):
        _check_text(value, pointer)
    elif is_object(value):
        _check_depth(depth + 1)
        for key, member in value.items():
            _check_text(key, pointer)
            _check(member, extend(pointer, key), depth + 1)
    elif is_sequence(value):
        _check_depth(depth + 1)
        for index, member in enumerate(value):
            _check(member, extend(pointer, index), depth + 1)
    else:
        _refuse(f"{_place(pointer)} is of type {type(value).__name__}, which is not JSON.")


def _check_text(text: Any, pointer: str) -> None:
    if not isinstance(text, str):
        _refuse(f"{_place(pointer)} has the key {text!r}; keys of an object must be strings.")
    try:
        text.encode()
    except UnicodeEncodeError:
        _refuse(f"{_place(pointer)} holds a lone surrogate, which UTF-8 cannot write; repair the text first.")


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise RpcError(
            ErrorCode.LIMIT_EXCEEDED,
            f"The JSON nests deeper than {MAX_DEPTH} levels; flatten it.",
            limit=MAX_DEPTH,
            value=depth,
        )


def _place(pointer: str) -> str:
    return f"The value at {pointer!r}" if pointer else "The value"


def _refuse(message: str, **data: Any) -> NoReturn:
    raise RpcError(ErrorCode.INVALID_PARAMS, message, **data)


def canonicalize(raw: bytes) -> bytes:
    """Rewrite JSON canonically.

    Args:
        raw: One JSON value in UTF-8.

    Raises:
        RpcError: `INVALID_PARAMS` if it is not JSON, has a duplicate key, or holds a number or a text that has no
            canonical form, with the byte in `data.position` where it is known; `LIMIT_EXCEEDED` if it nests too deeply.
    """
    return _encoder.encode(parse_json(raw))


def parse_json(raw: bytes) -> Any:
    """Decode JSON strictly, refusing all that `canonicalize` refuses."""
    structure = _STRING.sub(b"", raw)
    _check_depth(_measure_depth(structure))
    try:
        value = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        byte = _BYTE.search(str(error))
        place = {"position": int(byte[1])} if byte else {}
        _refuse(f"This is not JSON that can be stored: {error}.", **place)
    except RecursionError:
        _check_depth(MAX_DEPTH + 1)
        raise
    # Each member has one colon outside of strings; the decoder keeps the last of equal keys, so none may be lost.
    if structure.count(b":") != _count_members(value):
        key, position = _find_duplicate(raw)
        _refuse(f"The key {key!r} occurs twice in one object; keep one of them.", position=position)
    return value


def _measure_depth(structure: bytes) -> int:
    if structure.count(b"[") + structure.count(b"{") <= MAX_DEPTH:
        return 0
    brackets = structure.translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_LEVEL.__getitem__, brackets)), default=0)


def _count_members(value: Any) -> int:
    return _STRING.sub(b"", _encoder.encode(value)).count(b":")


def _find_duplicate(raw: bytes) -> tuple[str, int]:
    """The first key that occurs twice in an object, and at which byte it does so the second time."""
    objects: list[set[str]] = []
    name = raw[0:0]
    position = 0
    for token in _KEY_TOKEN.finditer(raw):
        match token[0]:
            case b"{":
                objects.append(set())
            case b"}":
                objects.pop()
            case b":":
                key = _decoder.decode(name)
                if key in objects[-1]:
                    return key, position
                objects[-1].add(key)
            case string:
                name, position = string, token.start()
    raise AssertionError("no key occurs twice")


def blob_id(data: bytes) -> str:
    """The id of a blob: `blake3:` and 64 lower-case hex digits.

    Args:
        data: The canonical bytes of a JSON value, or raw bytes of a binary blob.
    """
    return f"blake3:{blake3.blake3(data).hexdigest()}"


def is_blob_id(text: str) -> bool:
    """Whether a text has the form of a blob id."""
    return _BLOB_ID.fullmatch(text) is not None
