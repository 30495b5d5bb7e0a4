"""The handler that stands in until the first line."""

from __future__ import annotations

import logging
from collections.abc import Generator

import pytest

from protocol.log import configure_later
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
