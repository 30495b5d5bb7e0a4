"""The peers from PyPI, each in an environment of its own beside the project's: installed when they are first wanted.

What is asked of one is done by its driver, a module that runs in its environment and prints one number. The drivers
use each peer as its documentation shows it, on SQLite, and give it the way of doing the work that suits it best.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from benchmarks.peers.work import Work

ROOT: Final = Path(__file__).parent.parent.parent
TIMEOUT_S: Final = 120


class Peer(Struct, frozen=True):
    """A system from PyPI.

    Args:
        name: With its version.
        environment: The folder of its environment.
        packages: What is installed into it.
        driver: The module that makes it work.
    """

    name: str
    environment: str
    packages: Sequence[str]
    driver: str

    def install(self) -> bool:
        """Makes its environment, if that was not done before; says a word if it can't be.

        Returns:
            Whether it is there.
        """
        folder = ROOT / self.environment
        ready = folder / ".ready"
        if ready.exists():
            return True
        print(f"{self.name} is installed into {self.environment} ...", file=sys.stderr)
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", *self.packages]
        for command in ([sys.executable, "-m", "venv", str(folder)], [self._python, *pip]):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                reason = done.stderr.strip().rpartition("\n")[2]
                print(f"{self.name} is skipped: it could not be installed ({reason}).", file=sys.stderr)
                return False
        ready.touch()
        return True

    def measure(self, work: Work, folder: Path | None) -> float | None:
        """What it does of some work; `None`, and a word, if it fails.

        Args:
            work: What is to be done.
            folder: Where its database lies; `None`: a temporary one.
        """
        with tempfile.TemporaryDirectory(dir=folder, prefix="stepflow-bench-") as place:
            command = [self._python, "-m", self.driver, work, place]
            try:
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)
                return float(json.loads(done.stdout.rpartition("\n")[2]))
            except (subprocess.TimeoutExpired, json.JSONDecodeError) as error:
                print(f"{self.name} did not do the {work}: {error}", file=sys.stderr)
                return None

    @property
    def _python(self) -> str:
        return str(ROOT / self.environment / "bin" / "python")


PEERS: Final = (
    Peer(
        "Stepflow 0.13",
        ".venv-bench-stepflow",
        ("stepflow-orchestrator==0.13.0", "stepflow-py==0.13.0"),
        "benchmarks.peers.stepflow_driver",
    ),
    Peer("DBOS 3.4", ".venv-bench-dbos", ("dbos==3.4.0",), "benchmarks.peers.dbos_driver"),
)
