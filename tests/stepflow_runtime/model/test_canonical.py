"""One value, one sequence of bytes, one id."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.model.canonical import MAX_DEPTH, blob_id, canonical_json, canonicalize, is_blob_id

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def refusal(raw: bytes) -> RpcError:
    with pytest.raises(RpcError) as caught:
        canonicalize(raw)
    return caught.value


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b' { "b" : 1 , "a" : [ ] } ', b'{"a":[],"b":1}'),
        ('{"é":1,"z":2,"😀":3,"\uffff":4}'.encode(), '{"z":2,"é":1,"\uffff":4,"😀":3}'.encode()),
        (b'{"a":1,"A":2}', b'{"A":2,"a":1}'),
        (b"123456789012345678901234567890", b"123456789012345678901234567890"),
        (b"-18446744073709551617", b"-18446744073709551617"),
        (b"1.10", b"1.1"),
        (b"1", b"1"),
        (b"1.0", b"1.0"),
        (b"1e5", b"100000.0"),
        (b"0.1", b"0.1"),
        (rb'"\u00e9\/\ud83d\ude00"', '"é/😀"'.encode()),
        (rb'"\u000a\u0001"', rb'"\n\u0001"'),
        (b'{"a:[{":"\\"}:,"}', b'{"a:[{":"\\"}:,"}'),
    ],
)
def test_json_has_one_canonical_form(raw: bytes, canonical: bytes) -> None:
    assert canonicalize(raw) == canonical
    assert canonicalize(canonical) == canonical


def test_a_duplicate_key_is_refused_with_its_place() -> None:
    raw = rb'{"x": {"a": 1}, "y": [{"a": 1, "b": "a:", "\u0061": 2}]}'
    error = refusal(raw)
    assert error.code == ErrorCode.INVALID_PARAMS
    assert "'a' occurs twice" in error.message
    assert raw[error.data["position"] :].startswith(rb'"\u0061"')


@pytest.mark.parametrize(
    "raw", [b"", b"NaN", b"Infinity", b"[1,]", b"01", b"1 2", b'"\xff"', rb'"\ud800"', b"1e400", b"9" * 5000]
)
def test_what_is_not_json_or_cannot_be_held_exactly_is_refused(raw: bytes) -> None:
    assert refusal(raw).code == ErrorCode.INVALID_PARAMS


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 1000, 100_000])
def test_deep_nesting_is_refused_before_it_is_parsed(depth: int) -> None:
    error = refusal(b"[" * depth + b"]" * depth)
    assert error.code == ErrorCode.LIMIT_EXCEEDED
    assert error.data == {"type": "limitExceeded", "limit": "maxDepth", "value": MAX_DEPTH, "actual": depth}


def test_brackets_side_by_side_or_in_strings_are_not_nesting() -> None:
    for raw in (b"[" + b"[],{}," * 5000 + b"1]", b'"' + b"[" * 5000 + b'"'):
        assert canonicalize(raw) == raw


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, [{"a": -math.inf}], "\ud800", {"\udfff": 1}, {1: 2}, {1, 2}, b"x"]
)
def test_a_value_that_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(RpcError) as caught:
        canonical_json(value)
    assert caught.value.code == ErrorCode.INVALID_PARAMS


def test_a_refusal_names_the_place_in_the_value() -> None:
    with pytest.raises(RpcError, match="'/a~1b/1' is nan"):
        canonical_json({"a/b": [0, math.nan]})


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(RpcError) as caught:
        canonical_json(value)
    assert caught.value.code == ErrorCode.LIMIT_EXCEEDED


@given(json_values)
def test_canonical_json_is_json_and_its_own_canonical_form(value: Any) -> None:
    canonical = canonical_json(value)
    assert msgspec.json.decode(canonical) == value
    assert canonicalize(canonical) == canonical


@given(st.dictionaries(st.text('ab"\\\\:{[/'), st.text('ab"\\\\:{[/')), st.booleans())
def test_quotes_and_backslashes_are_no_structure(value: dict[str, str], has_duplicate: bool) -> None:
    raw = json.dumps(value, indent=1).encode()
    if value and has_duplicate:
        key = json.dumps(next(iter(value))).encode()
        assert "twice" in refusal(b"{" + key + b":1," + raw[1:]).message
    else:
        assert canonicalize(raw) == canonical_json(value)


def test_a_blob_id_is_the_hash_of_the_bytes() -> None:
    assert blob_id(b"{}") == "blake3:6e46dd10defc9b56c29a6ec56b508c21f54c08192194e4df25bf36f0c9c3c279"
    assert is_blob_id(blob_id(b"{}"))
    assert blob_id(b"1") != blob_id(b"1.0")


@pytest.mark.parametrize("text", ["", "blake3:", "blake3:" + "a" * 63, "blake3:" + "A" * 64, "sha256:" + "a" * 64])
def test_other_texts_are_no_blob_ids(text: str) -> None:
    assert not is_blob_id(text)
    assert not is_blob_id("blake3:" + "a" * 64 + "\n")
