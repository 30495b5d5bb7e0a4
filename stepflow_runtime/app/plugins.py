"""How what a configuration says of a plugin becomes that plugin."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from protocol.heartbeat import Heartbeat
from stepflow_runtime.app.config import (
    AcceptConfig,
    BuiltinConfig,
    DialConfig,
    McpAddressConfig,
    McpProcessConfig,
    MockConfig,
    PluginConfig,
    RuntimeLimits,
    StdioConfig,
)
from stepflow_runtime.app.mcp import make_mcp_address, make_mcp_process
from stepflow_runtime.app.processes import ServerProcesses
from stepflow_runtime.connect.answers import AnswerQueue
from stepflow_runtime.connect.builtins import BuiltinPlugin
from stepflow_runtime.connect.components import Callbacks
from stepflow_runtime.connect.connection import Connections
from stepflow_runtime.connect.files import FileLoader
from stepflow_runtime.connect.links import RuntimeLinks
from stepflow_runtime.connect.mock import MockPlugin
from stepflow_runtime.connect.origin import Origin
from stepflow_runtime.connect.plugin import Plugin
from stepflow_runtime.connect.secret_files import read_token
from stepflow_runtime.connect.supervisor import ServerPlugin
from stepflow_runtime.connect.tcp import SocketOrigin
from stepflow_runtime.model.loader import load_document
from stepflow_runtime.ports import Clock


class PluginMaker:
    """Makes the plugins of one runtime; none of them runs yet.

    Args:
        limits: As configured.
        processes: Those that may have been started already.
        links: Make the links to component servers.
        connections: Tell who is at the other end.
        answers: Where all plugins put what came of executions.
        callbacks: What built-in components ask the runtime for.
        clock: By which they wait.
    """

    def __init__(
        self,
        limits: RuntimeLimits,
        processes: ServerProcesses,
        links: RuntimeLinks,
        connections: Connections,
        answers: AnswerQueue,
        callbacks: Callbacks,
        clock: Clock,
    ) -> None:
        self._limits = limits
        self._processes = processes
        self._links = links
        self._connections = connections
        self._answers = answers
        self._callbacks = callbacks
        self._clock = clock

    def make(self, name: str, config: PluginConfig) -> Plugin:
        """The plugin of this name.

        Raises:
            ValueError: An extra is not installed that it needs.
        """
        match config:
            case BuiltinConfig(load_file=folders):
                loader = FileLoader(folders, _read_yaml, max_bytes=self._limits.max_frame_bytes)
                return BuiltinPlugin(name, self._callbacks, self._answers, loader, self._clock)
            case MockConfig(components=components):
                return MockPlugin(name, components, self._answers)
            case StdioConfig():
                origin = self._processes.origins[name]
                return self._make_server(name, [origin] * config.processes, are_processes=True)
            case McpProcessConfig(process=process):
                tools = make_mcp_process(self._processes.origins[name], self._links.limits)
                return self._make_server(name, [tools] * process.processes, are_processes=True)
            case McpAddressConfig(url=url, token_file=token_file):
                return self._make_server(name, [make_mcp_address(url, token_file, self._links.limits)])
            case DialConfig(url=url, tls=tls, token_file=token_file):
                return self._make_server(name, [SocketOrigin(url, tls)], token_file)
            case AcceptConfig():
                return self._make_server(name, [])

    def _make_server(
        self,
        name: str,
        origins: Sequence[Origin],
        token_file: Path | None = None,
        *,
        are_processes: bool = False,
    ) -> ServerPlugin:
        limits = self._limits
        return ServerPlugin(
            name,
            origins,
            answers=self._answers,
            connections=self._connections,
            links=self._links,
            jitter=random.random,
            unavailable_timeout_ms=limits.unavailable_timeout_ms,
            initialize_timeout_ms=limits.initialize_timeout_ms,
            heartbeat=None if are_processes else Heartbeat(limits.ping_after_ms / 1000, limits.ping_timeout_ms / 1000),
            cancel_timeout_ms=limits.cancel_timeout_ms if are_processes else None,
            secrets=self._processes.secrets,
            read_token=None if token_file is None else partial(read_token, token_file),
        )


def _read_yaml(text: bytes) -> object:
    return load_document(text).value
