"""The tests that the page on durability names are there. That its commands run is shown with those of all pages."""

from __future__ import annotations

import re
from typing import Final

from tests.conformance.wire import ROOT

PAGE: Final = (ROOT / "docs" / "explanation" / "durability.md").read_text()


def test_the_tests_that_it_names_are_there() -> None:
    named = re.findall(r"`(tests/[\w/.]+)`", PAGE)
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []
