"""Logs: structlog to stderr, synchronous; for people on a terminal, else a JSON object a line.

What the libraries log through `logging` goes the same way. Nothing is logged per item. Most processes log nothing at
all: `log_lines`, and structlog with it, is imported for the first line.
"""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from functools import partial

from protocol.log import configure_later, configure_now


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def number(self) -> int:
        """The level as `logging` numbers it."""
        return logging.getLevelNamesMapping()[self.name]


class _FirstRecord(logging.Handler):
    """Stands where `log_lines` puts its handler, until a library logs something."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger().removeHandler(self)  # else the record comes back here if somebody else configures just now
        configure_now()
        logging.getLogger().handle(record)


def configure_logging(level: LogLevel = LogLevel.WARNING, *, pretty: bool | None = None) -> None:
    """Sets up the logs of this process; may be called again.

    Args:
        level: What is less grave is dropped before it is formatted.
        pretty: For people, or JSON; by default whether stderr is a terminal.
    """
    for_people = sys.stderr.isatty() if pretty is None else pretty
    configure_later(partial(_configure, level.number, for_people))
    logging.basicConfig(handlers=[_FirstRecord()], level=level.number, force=True)


def _configure(level: int, for_people: bool) -> None:
    from stepflow_runtime.app.log_lines import configure

    configure(level, for_people=for_people)
