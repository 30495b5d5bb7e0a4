"""Which modules may know trio, and the world outside."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

import pytest

PURE = ["errors", "types", "methods", "messages", "framing", "lifecycle", "batch", "peer", "openrpc", "exposure"]
IMPURE = ["trio", "socket", "subprocess", "sqlite3", "jsonrpcserver", "structlog"]
UNMEASURED: Final = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
"""An environment in which coverage, which imports much itself, is not measured."""


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_loads_neither_trio_nor_sockets_nor_jsonrpcserver(module: str) -> None:
    script = f"import sys, protocol.{module}; print([name for name in {IMPURE} if name in sys.modules])"
    assert _run(script) == "[]\n"


def test_a_link_without_dispatcher_needs_no_jsonrpcserver() -> None:
    script = "import sys, protocol.link; print('jsonrpcserver' in sys.modules)"
    assert _run(script) == "False\n"


def _run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], env=UNMEASURED, capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout
