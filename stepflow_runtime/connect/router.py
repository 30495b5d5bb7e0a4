"""The `ComponentCaller` of the engine: routes executions to plugins. It is the `ComponentCatalog`, too.

It knows routes and plugins, not servers. What happens to an execution after `call` is up to the place that its plugin
gave it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import trio
from msgspec import UNSET
from msgspec.structs import replace

from protocol.errors import ErrorCode, ItemErrorCode, RpcError
from protocol.observing import ServerInfo
from protocol.types import ComponentInfo
from stepflow_runtime.connect.answers import AnswerQueue
from stepflow_runtime.connect.plugin import Place, Plugin, Traffic
from stepflow_runtime.connect.routes import Routes
from stepflow_runtime.model.outcome import Failure
from stepflow_runtime.ports import Execution

MAX_REMEMBERED: Final = 10_000
"""Component paths whose destination is remembered; flows name few, but nobody bounds them."""


class ComponentRouter:
    """Carries out executions in the plugin that the first matching route names.

    Args:
        routes: In the order of the configuration.
        plugins: By name; every plugin that a route names.
        answers: The queue that the plugins share.

    Raises:
        ValueError: A route names a plugin that is not there.
    """

    def __init__(self, routes: Routes, plugins: Mapping[str, Plugin], answers: AnswerQueue) -> None:
        for plugin in routes.plugins():
            if plugin not in plugins:
                known = ", ".join(plugins) or "none"
                raise ValueError(f'A route leads to the plugin "{plugin}", which is not configured; known: {known}.')
        self._routes = routes
        self._plugins = plugins
        self._answers = answers
        self._destinations: dict[str, tuple[Plugin, str] | None] = {}
        self._idle: trio.Event | None = None

    def knows(self, component: str) -> bool:
        return self._resolve(component) is not None

    def call(self, execution: Execution) -> None:
        component = execution.component
        destination = self._destinations.get(component) or self._resolve(component)
        if destination is None:
            self._answers.put(execution, self._no_route(component))
            return
        plugin, path = destination
        plugin.call(execution, path)

    def cancel(self, execution: Execution) -> None:
        place: Place | None = execution.place
        if place is not None:
            place.cancel(execution)

    def interrupt(self, execution: Execution) -> None:
        place: Place | None = execution.place
        if place is not None:
            place.interrupt(execution)

    def park(self, execution: Execution) -> None:
        execution.waiting += 1
        place: Place | None = execution.place
        if place is not None and execution.waiting == 1:
            place.park(execution)

    def unpark(self, execution: Execution) -> None:
        execution.waiting -= 1
        place: Place | None = execution.place
        if place is not None and not execution.waiting:
            place.unpark(execution)

    def flush(self) -> None:
        for plugin in self._plugins.values():
            plugin.flush()
        if self._idle is not None and not self.load:
            self._idle.set()

    @property
    def load(self) -> int:
        """How many executions are at work, those included whose answer is not yet delivered."""
        return len(self._answers) + sum(plugin.load for plugin in self._plugins.values())

    def traffic(self) -> list[Traffic]:
        """What goes through the plugins that have servers."""
        return [traffic for plugin in self._plugins.values() if (traffic := plugin.traffic()) is not None]

    def servers(self) -> list[ServerInfo]:
        """The component servers of all plugins, as they are now."""
        return [server for plugin in self._plugins.values() for server in plugin.servers()]

    async def drain(self) -> None:
        """Sends no execution any more, and waits until those in flight have been answered or wait themselves.

        Cancellation: nothing more is sent all the same.
        """
        self._idle = trio.Event()
        for plugin in self._plugins.values():
            plugin.hold()
        self.flush()
        await self._idle.wait()

    async def components(self, plugin: str | None = None) -> list[ComponentInfo]:
        """What flows can call, with the paths by which they call it.

        Args:
            plugin: Only this plugin's; all by default.

        Raises:
            RpcError: `NOT_FOUND` for an unknown plugin; `RESOURCE_UNAVAILABLE` if a server does not answer in time.
        """
        if plugin is not None and plugin not in self._plugins:
            raise RpcError(
                ErrorCode.NOT_FOUND,
                f'No plugin is called "{plugin}"; known: {", ".join(self._plugins)}.',
                kind="plugin",
            )
        found: list[ComponentInfo] = []
        for name in [plugin] if plugin else self._plugins:
            for info in await self._plugins[name].components():
                full = self._routes.full_path(name, info.component)
                if full is not None:
                    found.append(replace(info, component=full))
        return found

    async def describe(self, component: str) -> ComponentInfo | None:
        """What a component says of itself, see `ComponentCatalog`."""
        destination = self._resolve(component)
        if destination is None:
            return None
        plugin, path = destination
        for info in await plugin.components():
            if info.component == path:
                return replace(info, component=component)
        return None

    async def infer_schema(self, component: str, input_schema: Any) -> Any:
        """What a component gives for such an input, see `ComponentCatalog`."""
        destination = self._resolve(component)
        if destination is None:
            return UNSET
        plugin, path = destination
        return await plugin.infer_schema(path, input_schema)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs all plugins and the delivery of answers until it is cancelled.

        Cancellation: stops the servers; a stdio server gets the time that `stdio` grants it.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._answers.run)
            for plugin in self._plugins.values():
                await nursery.start(plugin.run)
            task_status.started()

    def _resolve(self, component: str) -> tuple[Plugin, str] | None:
        if component not in self._destinations:
            if len(self._destinations) >= MAX_REMEMBERED:
                self._destinations.clear()
            found = self._routes.resolve(component)
            self._destinations[component] = None if found is None else (self._plugins[found.plugin], found.path)
        return self._destinations[component]

    def _no_route(self, component: str) -> Failure:
        return Failure(
            ItemErrorCode.COMPONENT_NOT_FOUND,
            f'No route leads to "{component}"; the configured routes are: {self._routes.describe()}.',
            {"component": component},
        )
