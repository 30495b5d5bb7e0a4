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
_KEY_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}:]', re.DOTALL)
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
        _check(value, 0)
        return _encoder.encode(value)
    except _NotJsonError as error:
        pointer = extend("", *reversed(error.tokens))
        _refuse(f"The value{f' at {pointer!r}' if pointer else ''} {error}.")
    except RecursionError:
        _check_depth(MAX_DEPTH + 1)
        raise
    except (ValueError, msgspec.MsgspecError) as error:  # an integer beyond what Python converts
        _refuse(f"The value cannot be written as JSON: {error}.")


class _NotJsonError(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.tokens: list[str | int] = []
        """The way to the place, from its end."""


def _check(value: Any, depth: int) -> None:
    if value is None or isinstance(value, bool | int):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _NotJsonError(f"is {value}, which JSON cannot hold; send null or a string instead")
    elif isinstance(value, str):
        _check_text(value)
    elif is_object(value) or is_sequence(value):
        _check_depth(depth + 1)
        for key, member in value.items() if is_object(value) else enumerate(value):
            try:
                _check(member, depth + 1)
            except _NotJsonError as error:
                error.tokens.append(key)
                raise
        if is_object(value):
            for key in value:
                _check_text(key)
    else:
        raise _NotJsonError(f"is of type {type(value).__name__}, which is not JSON")


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise _NotJsonError(f"has the key {text!r}; keys of an object must be strings")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _NotJsonError("holds a lone surrogate, which UTF-8 cannot write; repair the text first") from None


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise RpcError(
            ErrorCode.LIMIT_EXCEEDED,
            f"The JSON nests deeper than {MAX_DEPTH} levels; flatten it.",
            limit="maxDepth",
            value=MAX_DEPTH,
            actual=depth,
        )


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
    return _read(raw)[1]


def normalize(raw: bytes) -> bytes:
    """JSON in a form that is the same for equal values, to compare them by; what has no such form stays as it is."""
    try:
        return _encoder.encode(_decoder.decode(raw))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return raw


def parse_json(raw: bytes) -> Any:
    """Decode JSON strictly, refusing all that `canonicalize` refuses."""
    return _read(raw)[0]


def _read(raw: bytes) -> tuple[Any, bytes]:
    structure = _strip_strings(raw)
    _check_depth(_measure_depth(structure))
    try:
        value = _decoder.decode(raw)
        canonical = _encoder.encode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        byte = _BYTE.search(str(error))
        place = {"position": int(byte[1])} if byte else {}
        _refuse(f"This is not JSON that can be stored: {error}.", **place)
    except RecursionError:
        _check_depth(MAX_DEPTH + 1)
        raise
    # Each member has one colon outside of strings; the decoder keeps the last of equal keys, so none may be lost.
    if structure.count(b":") != _strip_strings(canonical).count(b":"):
        key, position = _find_duplicate(raw)
        _refuse(f"The key {key!r} occurs twice in one object; keep one of them.", position=position)
    return value, canonical


def _strip_strings(raw: bytes) -> bytes:
    """JSON without its strings; every other part between quotes is one, once escaped quotes are gone."""
    return b"".join(raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])


def _measure_depth(structure: bytes) -> int:
    if structure.count(b"[") + structure.count(b"{") <= MAX_DEPTH:
        return 0
    brackets = structure.translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_LEVEL.__getitem__, brackets)), default=0)


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
