"""Templates, filled in: everything is escaped that a template does not itself say."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any, Final

import trio
from jinja2 import DictLoader, Environment, StrictUndefined
from msgspec import UNSET, Raw, UnsetType
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from stepflow_runtime.ports import Clock
from stepflow_runtime.web.console import graph_layout
from stepflow_runtime.web.console.json_view import preview_json, show_json
from stepflow_runtime.web.console.times import parse_ms, show_age, show_clock, show_duration, show_time

SHORT_ID: Final = 12


class Renderer:
    """Makes pages.

    Args:
        clock: What ages are counted by.
        asks_tokens: Whether somebody can sign out.
        static: The path of style and scripts.
    """

    def __init__(self, clock: Clock, *, asks_tokens: bool, static: str) -> None:
        self._clock = clock
        self._asks_tokens = asks_tokens
        folder = resources.files("stepflow_runtime.web.console") / "templates"
        templates = {file.name: file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".html")}
        self._environment = Environment(
            loader=DictLoader(templates),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters.update(self._make_filters())
        self._environment.tests["unset"] = _is_unset
        shared: dict[str, Any] = {
            "static": static,
            "lasted": self._show_lasted,
            "BOX": {"width": graph_layout.WIDTH, "height": graph_layout.HEIGHT},
        }
        self._environment.globals.update(shared)
        shared["m"] = self._environment.get_template("macros.html").module
        self._environment.globals.update(shared)

    def _make_filters(self) -> dict[str, Callable[..., Any]]:
        def show_age_now(timestamp: str) -> str:
            return show_age(timestamp, self.now_ms())

        return {
            "json": _show_json,
            "preview": _preview_json,
            "time": show_time,
            "clock": show_clock,
            "age": show_age_now,
            "duration": show_duration,
            "short": _shorten,
            "count": _show_count,
        }

    async def prepare(self) -> None:
        """Compiles all templates, one at a time, so that no page has to wait for its own."""
        for name in self._environment.list_templates():
            self._environment.get_template(name)
            await trio.lowlevel.checkpoint()

    def now_ms(self) -> int:
        """What time it is."""
        return self._clock.wall_ms()

    def page(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        """A page, or a part of one."""
        values |= {
            "path": request.url.path,
            "query": str(request.url.query),
            "may_write": request.scope.get("role") == "client",
            "asks_tokens": self._asks_tokens,
        }
        return HTMLResponse(self._environment.get_template(template).render(values), status)

    def _show_lasted(self, started_at: str | None, completed_at: str | None) -> str:
        if started_at is None:
            return "–"
        return show_duration((parse_ms(completed_at) if completed_at else self.now_ms()) - parse_ms(started_at))


def _show_json(raw: Raw | UnsetType) -> str:
    return "" if raw is UNSET else show_json(bytes(raw))


def _preview_json(raw: Raw | UnsetType) -> str:
    return "" if raw is UNSET else preview_json(bytes(raw))


def _is_unset(value: object) -> bool:
    return value is UNSET


def _shorten(id: str) -> str:
    return f"{id[:8]}…{id[-4:]}" if len(id) > SHORT_ID else id


def _show_count(number: int) -> str:
    return f"{number:,}"
