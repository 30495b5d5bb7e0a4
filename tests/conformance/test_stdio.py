"""`stepflow serve --stdio`: whoever starts it speaks to it over its stdin and stdout, and nothing else is on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conformance.wire import PATIENCE_S, ROOT, Json


def converse(folder: Path, sent: bytes) -> list[Json]:
    """Starts a runtime, sends it bytes and then the end of file; returns what it answered."""
    command = [sys.executable, "-m", "stepflow_runtime.app.cli", "serve", "--stdio", "--storage-path", ":memory:"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, input=sent, cwd=folder, env=environment, capture_output=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_requests_that_came_before_the_end_of_file_are_answered(tmp_path: Path) -> None:
    answers = converse(
        tmp_path,
        b'{"jsonrpc":"2.0","id":1,"method":"connect","params":{"protocolVersion":1}}\n'
        b'{"jsonrpc":"2.0","id":2,"method":"blobs/put","params":{"data":1}}\n'
        b'{"jsonrpc":"2.0","id":3,"method":"ping"}\n',
    )
    assert sorted(answer["id"] for answer in answers) == [1, 2, 3]
    assert all("result" in answer for answer in answers), answers


def test_a_bad_line_is_answered_also_if_it_is_the_first(tmp_path: Path) -> None:
    bad, good = converse(tmp_path, b'hello\n{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
    assert (bad["id"], bad["error"]["code"]) == (None, -32700)
    assert good == {"jsonrpc": "2.0", "id": 1, "result": {}}


def test_the_end_of_file_alone_ends_it(tmp_path: Path) -> None:
    assert converse(tmp_path, b"") == []
