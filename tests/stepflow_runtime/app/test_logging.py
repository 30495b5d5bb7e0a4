"""What a log line looks like, and the handler that stands in until the first one."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from datetime import datetime

import click
import pytest

from protocol.log import Logger, configure_later
from stepflow_runtime.app.cli.options import common_options
from stepflow_runtime.app.logging import LogLevel, configure_logging


@pytest.fixture(autouse=True)
def _restored() -> Generator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    configure_later(None)


def test_a_record_of_a_library_is_logged_once_though_somebody_else_configures_just_now(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(LogLevel.WARNING)
    configure_later(None)  # as a thread leaves it that has begun to configure
    logging.getLogger("library").warning("said once")
    assert capsys.readouterr().err.count("said once") == 1


def test_a_line_is_a_json_object_with_what_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogLevel.INFO, pretty=False)
    Logger("engine").error("run cannot go on", run_id="r1")
    logging.getLogger("library").info("hello")
    own, foreign = map(json.loads, capsys.readouterr().err.splitlines())
    assert datetime.fromisoformat(own.pop("timestamp"))
    assert own == {"event": "run cannot go on", "level": "error", "run_id": "r1"}
    assert (foreign["event"], foreign["level"]) == ("hello", "info")


@pytest.mark.parametrize(("form", "is_json"), [("json", True), ("pretty", False), ("auto", True)])
def test_the_command_line_says_how_lines_are_written(
    form: str, is_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    @common_options()
    def speak() -> None:
        Logger("command").warning("hello", run_id="r1")

    for arguments in (["--log-format", form, "--log-level", "info"], ["--log-level", "info", "--log-format", form]):
        speak.main(arguments, standalone_mode=False)
        line = capsys.readouterr().err
        assert line.startswith("{") == is_json, line
        assert "hello" in line
        assert "r1" in line
