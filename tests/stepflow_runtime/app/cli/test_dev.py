"""`stepflow dev`: a runtime with its console."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx

from tests.stepflow_runtime.app.cli.cli_kit import Program, Stepflow


def test_it_prints_both_addresses_and_has_a_console(folder: Path) -> None:
    with Program("dev", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0") as program:
        assert "listening on 127.0.0.1:" in program.read_line()
        line = program.read_line()
        assert line.startswith("console and HTTP at http://127.0.0.1:")
        assert "No runs yet" in httpx.get(line.split()[-1], timeout=20).text
        program.interrupt(signal.SIGTERM)


def test_an_address_that_is_open_to_others_is_refused(stepflow: Stepflow) -> None:
    done = stepflow("dev", "--http", "0.0.0.0:7840")
    assert done.code == 2
    assert "tokenFile" in done.err
