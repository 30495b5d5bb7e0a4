"""`stepflow serve --stdio`: whoever starts it speaks to it over its stdin and stdout, and nothing else is on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.conformance.wire import PATIENCE_S, ROOT, Json


@contextmanager
def spawn(folder: Path) -> Generator[subprocess.Popen[bytes]]:
    """A runtime that serves this process; it ends with 0 when its stdin is closed, and says nothing unasked."""
    command = [sys.executable, "-m", "stepflow_runtime.app.cli", "serve", "--stdio", "--storage-path", ":memory:"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder, env=environment
    ) as process:
        watchdog = threading.Timer(PATIENCE_S, process.kill)
        watchdog.start()
        try:
            yield process
            assert process.communicate()[0] == b""
            assert process.returncode == 0
        finally:
            watchdog.cancel()
            process.kill()


def ask(process: subprocess.Popen[bytes], line: bytes) -> Json:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + b"\n")
    process.stdin.flush()
    answer: Json = json.loads(process.stdout.readline())
    return answer


def test_calls_are_answered_until_the_end_of_file(tmp_path: Path) -> None:
    with spawn(tmp_path) as process:
        answer = ask(process, b'{"jsonrpc":"2.0","id":1,"method":"connect","params":{"protocolVersion":1}}')
        assert answer["result"]["protocolVersion"] == 1
        answer = ask(process, b'{"jsonrpc":"2.0","id":2,"method":"blobs/put","params":{"data":1}}')
        assert answer["result"].keys() == {"blob_id"}


def test_a_bad_line_is_answered_also_if_it_is_the_first(tmp_path: Path) -> None:
    with spawn(tmp_path) as process:
        assert ask(process, b"hello")["error"]["code"] == -32700
        assert ask(process, b'{"jsonrpc":"2.0","id":1,"method":"ping"}') == {"jsonrpc": "2.0", "id": 1, "result": {}}


def test_the_end_of_file_alone_ends_it(tmp_path: Path) -> None:
    with spawn(tmp_path):
        pass


def test_what_was_asked_before_the_end_of_file_is_answered(tmp_path: Path) -> None:
    lines = [b'{"jsonrpc":"2.0","id":%d,"method":"blobs/put","params":{"data":%d}}' % (id, id) for id in range(20)]
    command = [sys.executable, "-m", "stepflow_runtime.app.cli", "serve", "--stdio", "--storage-path", ":memory:"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, input=b"\n".join(lines) + b"\n", capture_output=True, cwd=tmp_path, env=environment, timeout=PATIENCE_S
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(answer["id"] for answer in answers) == list(range(20))
    assert all("result" in answer for answer in answers)
