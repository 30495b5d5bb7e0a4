"""The table of what other systems have: each line is shown by tests that exist, and names what there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, get_type_hints

import pytest

from component_sdk import BlockingContext, StepflowContext
from component_sdk.client import Client
from component_sdk.run import Run
from component_sdk.sync import Client as BlockingClient
from component_sdk.sync import Run as BlockingRun
from protocol.runs import RunStatus
from protocol.vocabulary import DETAILED, WORDS
from tests.compatibility import COUNTERPARTS, TABLES, Counterpart
from tests.test_docs import ROOT, find_tests

ALL: Final = [counterpart for counterparts in COUNTERPARTS.values() for counterpart in counterparts]
OURS: Final = {"run": (Run, BlockingRun), "client": (Client, BlockingClient), "ctx": (StepflowContext, BlockingContext)}


def test_every_line_of_the_tables_is_read() -> None:
    for system, table in TABLES.items():
        counterparts = COUNTERPARTS[system]
        assert sum(2 + len(counterpart.tests) for counterpart in counterparts) == len(table.split("\n")) - 2, system


@pytest.mark.parametrize("counterpart", ALL, ids=lambda counterpart: counterpart.theirs)
def test_what_is_there_is_shown_by_tests_that_exist(counterpart: Counterpart) -> None:
    assert bool(counterpart.tests) == counterpart.is_there, "what has no test says `Not yet: ` or `Nothing: `"
    for test in counterpart.tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).is_file(), f"{file} does not exist"
        assert name in set(find_tests(ROOT / file)), f"{file} has no test {name}"


@pytest.mark.parametrize("counterpart", ALL, ids=lambda counterpart: counterpart.theirs)
def test_what_is_named_exists_blocking_and_not(counterpart: Counterpart) -> None:
    for owner, name in find_names(counterpart.here):
        for face in OURS[owner]:
            assert hasattr(face, name) or name in get_type_hints(face), (
                f"{face.__module__}.{face.__qualname__} has no {name}"
            )


def find_names(text: str) -> Iterator[tuple[str, str]]:
    """What is named of a run, a client or a context."""
    for code in re.findall(r"`([^`]+)`", text):
        yield from re.findall(r'(?<!["/\w])(run|client|ctx)\.(\w+)', code)


def test_every_word_for_a_status_has_a_line() -> None:
    theirs = " ".join(counterpart.theirs for counterpart in ALL)
    unnamed = {"pending", "running"}  # Mastra has them and does not name them, but Workflow DevKit does
    said = {word for words in WORDS.values() for word in words.values()}
    said |= {word for words in DETAILED.values() for word in words.values()}
    for word in said | unnamed:
        assert f"`{word}`" in theirs, word


def test_the_published_fields_of_a_status_are_there() -> None:
    (published,) = (counterpart.theirs for counterpart in ALL if counterpart.theirs.startswith("RunStatus"))
    assert set(re.findall(r"`(\w+)`", published)) <= set(RunStatus.__struct_encode_fields__)
