"""Logs: structlog to stderr, synchronous; for people on a terminal, else a JSON object a line.

What the libraries log through `logging` goes the same way. Nothing is logged per item.
"""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from typing import Any, Final, TextIO

import structlog


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def number(self) -> int:
        """The level as `logging` numbers it."""
        return logging.getLevelNamesMapping()[self.name]


class _Stderr:
    """Whatever `sys.stderr` is when a line is written: a progress display puts itself there while it is on."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


_SHARED: Final[tuple[structlog.typing.Processor, ...]] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure_logging(level: LogLevel = LogLevel.WARNING, *, pretty: bool | None = None) -> None:
    """Sets up the logs of this process; may be called again.

    Args:
        level: What is less grave is dropped before it is formatted.
        pretty: For people, or JSON; by default whether stderr is a terminal.
    """
    stderr: Any = _Stderr()
    renderer = _make_renderer(sys.stderr.isatty() if pretty is None else pretty)
    structlog.configure(
        processors=[*_SHARED, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level.number),
        logger_factory=structlog.PrintLoggerFactory(file=stderr),
        cache_logger_on_first_use=False,
    )
    _configure_standard_logging(level, renderer, stderr)


def _make_renderer(pretty: bool) -> list[structlog.typing.Processor]:
    if pretty:
        return [structlog.dev.ConsoleRenderer()]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]


def _configure_standard_logging(level: LogLevel, renderer: list[structlog.typing.Processor], stream: TextIO) -> None:
    handler = logging.StreamHandler(stream)
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=[remove_meta, *renderer])
    )
    logging.basicConfig(handlers=[handler], level=level.number, force=True)
