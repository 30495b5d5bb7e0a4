"""Every check of the project, in the order in which they are cheap: `python -m tests.check`, or `make test`.

The checks that only read the code come first, and all of them run, so that one round shows everything they have to say.
Only code that passed is tried: each guard against a fault is removed in turn (`tests.guards`), and the tests run last:
their closing line is the verdict.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
BIN: Final = Path(sys.executable).parent

STATIC_CHECKS: Final = {
    "format": ["ruff", "format", "--check", "."],
    "lint": ["ruff", "check", "."],
    "types, by mypy": ["mypy"],
    "types, by pyright": ["pyright"],
    "layers": ["lint-imports", "--no-logo"],
}
GUARDS: Final = ["python", "-m", "tests.guards"]
TESTS: Final = ["pytest", "--cov", "--cov-report=term:skip-covered"]
ON_ALL_CORES: Final = ["-n", "auto", "--dist", "worksteal"]


def main(arguments: list[str]) -> int:
    """Run the checks.

    Args:
        arguments: `--static` leaves the tests out; all others go to pytest, and leave the guards out.

    Returns:
        The exit code: 0 if all is well.
    """
    is_static = "--static" in arguments
    failed = [name for name, command in STATIC_CHECKS.items() if not _passes(name, command)]
    if failed:
        print(f"{len(failed)} of {len(STATIC_CHECKS)} checks failed: {'; '.join(failed)}. The tests run when all pass.")
        return 1
    if is_static:
        print(f"All {len(STATIC_CHECKS)} checks pass.")
        return 0
    has_useless_guards = not arguments and not _passes("guards, each removed in turn", GUARDS)
    print("== tests", flush=True)
    returncode = _run([*TESTS, *(arguments or ON_ALL_CORES)]).returncode
    if has_useless_guards:
        print("The check of the guards failed; above stands how.")
    return returncode or int(has_useless_guards)


def _passes(name: str, command: list[str]) -> bool:
    print(f"== {name} ... ", end="", flush=True)
    started_at = time.monotonic()
    done = _run(command, captures=True)
    print(f"{'FAILED' if done.returncode else 'ok'} ({time.monotonic() - started_at:.1f} s)", flush=True)
    if done.returncode:
        print(done.stdout, flush=True)
    return done.returncode == 0


def _run(command: list[str], *, captures: bool = False) -> subprocess.CompletedProcess[str]:
    program, *arguments = command
    return subprocess.run(
        [BIN / program, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},  # else it asks PyPI whether it is the newest
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if captures else None,
        stderr=subprocess.STDOUT if captures else None,
        text=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
