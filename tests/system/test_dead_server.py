"""A component server that dies as it is imported: whoever needs it is told why, once and in time."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.conformance.wire import serve


def test_a_server_that_dies_at_import_fails_the_run_in_time_with_its_stderr(tmp_path: Path) -> None:
    broken = tmp_path / "server.py"
    broken.write_text("import a_module_that_nobody_has\n")
    config = {
        "plugins": {
            "python": {"type": "stepflow", "transport": "stdio", "command": sys.executable, "args": [str(broken)]}
        },
        "routes": {"/python/{*component}": [{"plugin": "python"}]},
        "storage": {"type": "memory"},
        "limits": {"unavailableTimeoutMs": 1000},
    }
    with serve(tmp_path, config) as runtime:
        with runtime.connect() as client:
            started_at = time.monotonic()
            error = client.run_one("/python/echo", 1)["error"]
            assert time.monotonic() - started_at < 4, "the wait for a server is no attempt, and not made four times"
        log = runtime.log
    assert error["code"] == "UNREACHABLE"
    assert error["data"]["limit"] == "unavailableTimeoutMs"
    assert "ModuleNotFoundError: No module named 'a_module_that_nobody_has'" in error["data"]["stderr"]
    assert "component server is not there" in log
    assert "a_module_that_nobody_has" in log
