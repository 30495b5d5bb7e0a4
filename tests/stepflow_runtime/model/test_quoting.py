"""Lines as errors quote them."""

from __future__ import annotations

import pytest

from stepflow_runtime.model.loader import load_document
from stepflow_runtime.model.quoting import MAX_WIDTH, Place, quote


def test_what_is_meant_is_underlined() -> None:
    assert quote("a: 1\nb: two\n", Place(2, 4, 3)) == "     2 | b: two\n       |    ^^^"


def test_a_long_line_is_cut_around_the_place() -> None:
    number, marks = quote("x" * 500 + "HERE" + "x" * 500, Place(1, 501, 4)).split("\n")
    assert len(number) == len("     1 | ") + MAX_WIDTH + 2
    assert number[marks.index("^") : marks.index("^") + 4] == "HERE"
    assert number.count("…") == 2


@pytest.mark.parametrize("place", [Place(0, 1), Place(9, 1), Place(1, 99, 5), Place(1, 1, 500)])
def test_a_place_that_is_not_there_harms_nothing(place: Place) -> None:
    assert len(quote("one\ntwo", place)) < 200


@pytest.mark.parametrize(
    ("pointer", "name", "marked"),
    [
        ("/a/b", False, "[1, 2]"),
        ("/a/b", True, "b"),
        ("/a/b/1", False, "2"),
        ("/a/b/1", True, "2"),
        ("/a/missing", False, "b: [1, 2]"),
        ("/c", True, "c"),
    ],
)
def test_a_field_and_its_name_are_found(pointer: str, name: bool, marked: str) -> None:
    text = "a:\n  b: [1, 2]\nc: {d: 3}\n"
    place = load_document(text).find(pointer, name=name)
    assert place is not None
    line = text.splitlines()[place.line - 1]
    assert line[place.column - 1 : place.column - 1 + place.width] == marked
