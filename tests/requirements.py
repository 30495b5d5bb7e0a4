"""What is promised, and which tests show it. docs/reference/requirements.md is written from it."""

from __future__ import annotations

from typing import Final

from msgspec import Struct


class Requirement(Struct, frozen=True):
    """One promise.

    Args:
        id: Short, and never used again for another one.
        sentence: What is promised.
        section: Where it is specified.
        tests: Node ids, as pytest prints them; a function's stands for all its parameters, a file's for all in it.
    """

    id: str
    sentence: str
    section: str
    tests: tuple[str, ...]


REQUIREMENTS: Final[tuple[Requirement, ...]] = (
    Requirement(
        "layers",
        "The runtime and the SDK meet only in `protocol`; layers import downwards; pure modules do no I/O.",
        "DESIGN, Layout",
        ("tests/test_layers.py::test_a_contract_is_kept",),
    ),
)
