"""The component servers that a runtime starts as processes: how each is started, and that it is started early.

A server takes as long to import its parts as the runtime does, so it is started as soon as the database is ours, before
the runtime is even imported. `connect.supervisor` takes it over, and starts it again when it ends.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from protocol.log import Logger
from stepflow_runtime.app.config import Config, McpProcessConfig, SqliteStorage, StdioConfig
from stepflow_runtime.app.secrets import ConfiguredSecrets
from stepflow_runtime.connect import leftovers
from stepflow_runtime.connect.stdio import StdioOrigin

log = Logger(__name__)


class ServerProcesses:
    """The origins of all plugins that have a command.

    Args:
        config: Names them.

    Attributes:
        secrets: What they write to stderr is rid of those that were looked up here.
        origins: By the plugin's name.
        grace_s: How long a process that is to stop has from the end of stdin to SIGTERM, and from there to SIGKILL.

    Raises:
        ValueError: There is no such program.
    """

    def __init__(self, config: Config) -> None:
        self.secrets = ConfiguredSecrets(config.secrets, os.environ)
        self.grace_s = config.limits.stop_timeout_ms / 1000
        mark = leftovers.mark(config.storage.path) if isinstance(config.storage, SqliteStorage) else {}
        self._plugins = {
            name: plugin.process if isinstance(plugin, McpProcessConfig) else plugin
            for name, plugin in config.plugins.items()
            if isinstance(plugin, StdioConfig | McpProcessConfig)
        }
        self.origins = {
            name: StdioOrigin(
                plugin.command,
                plugin.args,
                env={**plugin.env, **mark},
                cwd=plugin.cwd,
                limits=plugin.limits,
                on_stderr=partial(_log_stderr, name),
                scrub=self.secrets.scrub,
                grace_s=lambda: self.grace_s,
            )
            for name, plugin in self._plugins.items()
        }

    @asynccontextmanager
    async def head_start(self) -> AsyncGenerator[None]:
        """Starts all processes; at the end, those that nobody took over are killed."""
        try:
            for name, plugin in self._plugins.items():
                self.origins[name].start_ahead(plugin.processes)
            yield
        finally:
            for origin in self.origins.values():
                await origin.kill_unused()


def _log_stderr(plugin: str, line: str) -> None:
    log.debug("component server wrote", plugin=plugin, line=line)
