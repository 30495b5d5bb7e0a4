"""Types in words: what a message shows of a type leaves nothing out that it may be."""

from __future__ import annotations

import pytest

from stepflow_runtime.model.types.constants import type_of
from stepflow_runtime.model.types.lattice import NULL, Kind, Scalar, Type, unite
from stepflow_runtime.model.types.writing import describe

INTEGER = Type((Scalar(kind=Kind.INTEGER),))
FRACTION = Type((Scalar(kind=Kind.FRACTION),))


@pytest.mark.parametrize(
    ("types", "words"),
    [
        ([INTEGER, FRACTION], "number"),
        ([FRACTION], "number"),
        ([INTEGER, NULL], "integer | null"),
        ([type_of(1), type_of(2), FRACTION], "1 | 2 | number"),
        ([type_of("a"), NULL], '"a" | null'),
    ],
)
def test_a_type_is_described_with_all_that_it_may_be(types: list[Type], words: str) -> None:
    assert describe(unite(types)) == words
