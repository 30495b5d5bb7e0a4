"""Paths: how they are written, and what lies at their end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepflow_runtime.model.path import Path, PathError, follow_path, format_path, parse_path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("$", ()),
        ("$.a", ("a",)),
        ("$.a.b_c-d", ("a", "b_c-d")),
        ("$[0][12]", (0, 12)),
        ('$.a[0]["b"]', ("a", 0, "b")),
        ('$["with space"].é', ("with space", "é")),
        (r'$["a\"]\n"]', ('a"]\n',)),
        ("$['single']", ("single",)),
        ("$.0", ("0",)),
        ("a", ("a",)),
        ("a.b[0]", ("a.b[0]",)),
        ("", ("",)),
        (".a", (".a",)),
    ],
)
def test_a_path_is_read(text: str, path: Path) -> None:
    assert parse_path(text) == path


@pytest.mark.parametrize(
    "text", ["$a", "$.", "$..a", "$.a.", "$[", "$[]", "$[-1]", "$[01]", "$[a]", '$["a]', "$ .a", "$.a b"]
)
def test_what_begins_with_a_dollar_and_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(PathError, match="path"):
        parse_path(text)


@given(st.lists(st.integers(0, 10**17) | st.text(st.characters(exclude_categories=["Cs"])), max_size=4).map(tuple))
def test_a_path_that_is_written_is_read_back(path: Path) -> None:
    assert parse_path(format_path(path)) == path


def test_the_whole_value_is_the_same_object() -> None:
    value = b'{"a": 1}'
    assert follow_path((), value) is value


@pytest.mark.parametrize(
    "digits", [b"1.10", b"1e5", b"1E+05", b"123456789012345678901234567890", b"-0", b'"\\u0061"', b"[1 , 2]"]
)
def test_what_is_found_is_unchanged_digit_for_digit(digits: bytes) -> None:
    assert follow_path(("a", 1), b'{"x": 0, "a": [0, ' + digits + b" ]}") == digits


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("b",), b'{"a":1}'),
        ((1,), b"[1]"),
        ((0,), b'{"0":1}'),
        (("0",), b"[1]"),
        (("a",), b"null"),
        (("a", "b"), b'{"a":null}'),
        (("a",), b'"a"'),
    ],
)
def test_nothing_is_found_where_nothing_is(path: Path, value: bytes) -> None:
    assert follow_path(path, value) is None


def test_null_is_something() -> None:
    assert follow_path(("a",), b'{"a":null}') == b"null"


def test_a_long_path_is_read_at_once_and_not_repeated_when_it_is_bad() -> None:
    assert len(parse_path("$" + ".a" * 100_000)) == 100_000
    for text in ("$" + "[" * 100_000, '$["' + "a" * 100_000, '$["\\x' + "a" * 100_000 + '"]'):
        with pytest.raises(PathError) as raised:
            parse_path(text)
        assert len(str(raised.value)) < 1000
