"""How a log line is made, of what is logged here and of what libraries log; `logging` beside it says when."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, TextIO

import structlog

_SHARED: Final[tuple[structlog.typing.Processor, ...]] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


class _Stderr:
    """Whatever `sys.stderr` is when a line is written: a progress display puts itself there while it is on."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure(level: int, *, for_people: bool) -> None:
    """Sets up structlog and `logging`.

    Args:
        level: As `logging` numbers it; what is less grave is dropped before it is formatted.
        for_people: In colours, or as JSON.
    """
    stderr: Any = _Stderr()
    renderer = _make_renderer(for_people)
    structlog.configure(
        processors=[*_SHARED, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=stderr),
        cache_logger_on_first_use=False,
    )
    _configure_standard_logging(level, renderer, stderr)


def _make_renderer(for_people: bool) -> list[structlog.typing.Processor]:
    if for_people:
        return [structlog.dev.ConsoleRenderer()]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]


def _configure_standard_logging(level: int, renderer: list[structlog.typing.Processor], stream: TextIO) -> None:
    handler = logging.StreamHandler(stream)
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=[remove_meta, *renderer])
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
