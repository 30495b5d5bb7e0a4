"""Starts the component server on a free port, and runs the flow with it."""

from __future__ import annotations

import os
import subprocess
import sys

server = subprocess.Popen([sys.executable, "server.py", "--tcp", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
assert server.stderr is not None
try:
    *_, port = server.stderr.readline().strip().rpartition(":")  # "listening on 127.0.0.1:43211"
    command = ["stepflow", "run", "flow.yaml", "--inputs", "inputs.jsonl", "-o", "jsonl"]
    sys.exit(subprocess.run(command, env={**os.environ, "WORDS_PORT": port}).returncode)
finally:
    server.terminate()
    server.communicate()
