"""What other systems let people do with a run, what it is here, and which tests show it.

docs/reference/compatibility.md is written from it. A line without indentation names something of theirs, the line
`= …` below it says what it is here, and the lines after that are node ids of tests, from the folder `tests`. What has
no test says `Not yet: …`, or `Nothing: …` if there is nothing that it could be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from tests.other_systems import ANON, MASTRA, STEPFLOW, WORKFLOW_RUN, WORKFLOW_START


class Counterpart(Struct, frozen=True):
    """Something of another system.

    Args:
        theirs: As its documents write it.
        here: What it is here, or why it is nothing.
        tests: Node ids of the tests that show it.
    """

    theirs: str
    here: str
    tests: tuple[str, ...]

    @property
    def is_there(self) -> bool:
        return not self.here.startswith(("Not yet: ", "Nothing: "))


def read_table(table: str) -> Iterator[Counterpart]:
    """Reads what is theirs, and ours, from a text."""
    for theirs, here, tests in re.findall(r"^(\S.*)\n    = (.+)\n((?:    \S+\n)*)", table, re.MULTILINE):
        yield Counterpart(theirs, here, tuple(f"tests/{test}" for test in tests.split()))


TABLES: Final = {
    "Workflow DevKit: `getRun()` and `Run`": WORKFLOW_RUN,
    "Workflow DevKit: starting workflows": WORKFLOW_START,
    "Mastra: the `Run` class": MASTRA,
    "Workflow runs with jobs, user input, artifacts and webhooks": ANON,
    "The Stepflow protocol: `runs/*`": STEPFLOW,
}
COUNTERPARTS: Final = {system: tuple(read_table(table)) for system, table in TABLES.items()}
