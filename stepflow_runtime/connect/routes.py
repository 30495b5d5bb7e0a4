"""Which plugin a component path leads to, and what it is called there: the first route that matches wins. Pure.

A pattern ends in `{*component}`, which matches one or more characters; `/python` alone means `/python/{*component}`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

REST: Final = "{*component}"


class Route(Struct, frozen=True):
    """A pattern and the plugin that it leads to."""

    pattern: str
    plugin: str

    @property
    def prefix(self) -> str:
        """What stands before `{*component}`; ends in `/`."""
        return self.pattern.removesuffix(REST)


class Destination(Struct, frozen=True):
    """A component as its plugin knows it."""

    plugin: str
    path: str


def parse_route(pattern: str, plugin: str) -> Route:
    """Reads one route of the configuration.

    Args:
        pattern: `/python`, `/python/{*component}` or `/{*component}`.
        plugin: The name of the plugin that answers.

    Raises:
        ValueError: The pattern is none of these.
    """
    whole = pattern if pattern.endswith(REST) else f"{pattern.rstrip('/')}/{REST}"
    prefix = whole.removesuffix(REST)
    if not prefix.startswith("/") or not prefix.endswith("/") or "{" in prefix or "}" in prefix:
        raise ValueError(f'The route "{pattern}" cannot be read; write it like "/python/{REST}" or "/python".')
    return Route(whole, plugin)


class Routes:
    """The routes of a configuration, in order."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = tuple(routes)

    def resolve(self, component: str) -> Destination | None:
        """Finds where a component path of a flow leads.

        Returns:
            The plugin's name and `/` plus what `{*component}` matched, or `None` if no route matches.
        """
        for route in self._routes:
            prefix = route.prefix
            if component.startswith(prefix) and len(component) > len(prefix):
                return Destination(route.plugin, component[len(prefix) - 1 :])
        return None

    def plugins(self) -> set[str]:
        """The plugins that routes name."""
        return {route.plugin for route in self._routes}

    def full_path(self, plugin: str, path: str) -> str | None:
        """The path by which a flow reaches a plugin's component, or `None` if no route leads there.

        Args:
            plugin: The plugin's name.
            path: The component as the plugin lists it, with a leading `/`.
        """
        wanted = Destination(plugin, path)
        for route in self._routes:
            full = route.prefix + path.removeprefix("/")
            if route.plugin == plugin and self.resolve(full) == wanted:
                return full
        return None

    def describe(self) -> str:
        """The patterns, for a message to people."""
        return ", ".join(route.pattern for route in self._routes) or "none"
