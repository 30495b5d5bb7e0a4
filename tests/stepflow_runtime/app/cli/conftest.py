"""The command line as people use it: in this process for most, as a program for a runtime that serves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from protocol.log import configure_later
from stepflow_runtime.app.cli.boundary import run_command
from tests.stepflow_runtime.app.cli.cli_kit import CONFIG, FLOW, STUCK_FLOW, Done, Program, Stepflow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a configuration and flows."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("STEPFLOW_"):
            monkeypatch.delenv(name)
    (tmp_path / "stepflow-config.yml").write_text(CONFIG)
    (tmp_path / "stepflow-config.yml").chmod(0o600)
    (tmp_path / "flow.yaml").write_text(FLOW)
    (tmp_path / "stuck.yaml").write_text(STUCK_FLOW)
    return tmp_path


@pytest.fixture
def stepflow(folder: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Stepflow]:
    """Does what would be typed after `stepflow`."""

    def run(*args: str) -> Done:
        capfd.readouterr()
        code = run_command(args)
        return Done(code, *capfd.readouterr())

    yield run
    configure_later(None)
    structlog.reset_defaults()


@pytest.fixture
def address(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where a runtime serves, as a program of its own; commands find it by `STEPFLOW_URL`."""
    with Program("serve", "--listen", "127.0.0.1:0") as program:
        line = program.read_line()
        address = line.split("listening on ")[1].split()[0]
        monkeypatch.setenv("STEPFLOW_URL", address)
        yield address
