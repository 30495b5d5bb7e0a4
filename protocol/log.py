"""Loggers that cost nothing until something is logged: to import structlog, with rich behind it, is a tenth of a start.

It knows not where lines go: `app.logging` of the runtime says so; in a component server structlog's own defaults hold.
"""

from __future__ import annotations

from collections.abc import Callable


class Logger:
    """A structlog logger, found when it is used.

    Args:
        name: Of the module that logs.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, **values: object) -> None:
        self._log("debug", event, values)

    def info(self, event: str, **values: object) -> None:
        self._log("info", event, values)

    def warning(self, event: str, **values: object) -> None:
        self._log("warning", event, values)

    def error(self, event: str, **values: object) -> None:
        self._log("error", event, values)

    def _log(self, level: str, event: str, values: dict[str, object]) -> None:
        configure_now()
        import structlog

        getattr(structlog.get_logger(self._name), level)(event, **values)


_configure: Callable[[], None] | None = None


def configure_later(configure: Callable[[], None] | None) -> None:
    """Sets how structlog is configured before the first line is logged; `None`: not at all."""
    global _configure
    _configure = configure


def configure_now() -> None:
    """Does what `configure_later` was told, once."""
    global _configure
    configure, _configure = _configure, None
    if configure is not None:
        configure()
