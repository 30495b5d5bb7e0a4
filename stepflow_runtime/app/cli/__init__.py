"""The command line: what people type, and what they see (INTERFACES, "The command line").

Results go to stdout; progress, summaries and errors to stderr. `root` names the commands and imports a command's module
only when it is used, one module to a group; `boundary` turns whatever goes wrong into a sentence and an exit code;
`link` leads to a runtime that serves, `local` to one within this process, and both are talked to by the same protocol.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

GC_THRESHOLD: Final = 100_000
"""Objects made between two collections of the youngest; by default 700."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The program `stepflow`.

    Args:
        argv: What was typed after the program's name; by default that of the process.
    """
    gc.set_threshold(GC_THRESHOLD)  # what is imported stays, and would be looked through again and again
    from stepflow_runtime.app.cli.boundary import run_command

    sys.exit(run_command(argv))
