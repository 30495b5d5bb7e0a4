"""How a configuration is written: JSON values to `Config`, with the place of whatever is wrong.

Knows nothing of files and the environment, which are `config_file`'s. Reads Stepflow's published configurations too
(`stateStore`, rules of routes that only name a plugin). A field that nobody knows is an error if it looks like a
misspelt one, else a warning.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from stepflow_runtime.app.config import (
    AcceptConfig,
    BuiltinConfig,
    Config,
    ConfigError,
    DialConfig,
    Listen,
    McpAddressConfig,
    McpProcessConfig,
    MemoryStorage,
    MockConfig,
    PluginConfig,
    Retention,
    RuntimeLimits,
    SecretConfig,
    SqliteStorage,
    StdioConfig,
    StorageConfig,
    TelemetryConfig,
    WebhookConfig,
    default_state_path,
)
from stepflow_runtime.connect.destinations import parse_networks
from stepflow_runtime.connect.mock import read_behaviors
from stepflow_runtime.connect.routes import REST, Route, parse_route
from stepflow_runtime.connect.tcp import is_tls, parse_url
from stepflow_runtime.engine.retry import RetryPolicy
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.flow import Backoff, read_backoff
from stepflow_runtime.model.json_value import is_array, is_object
from stepflow_runtime.model.loader import Document
from stepflow_runtime.model.pointer import extend

_S = TypeVar("_S", bound=Struct)
_T = TypeVar("_T")

_SECTIONS: Final = (
    "plugins",
    "routes",
    "storage",
    "stateStore",
    "listen",
    "retry",
    "limits",
    "secrets",
    "webhooks",
    "retention",
    "telemetry",
)
_MEMORY: Final = frozenset({"memory", "inMemory", "in_memory"})
_PLUGIN_TYPES: Final = ("builtin", "stepflow", "mcp", "mock")


def read_config(document: Document, folder: Path) -> Config:
    """Reads a configuration.

    Args:
        document: The file, variables filled in.
        folder: What its relative paths are relative to; absolute.

    Raises:
        ConfigError: Something in it cannot be used.
    """
    return _Reader(document, folder).read()


class _Reader:
    def __init__(self, document: Document, folder: Path) -> None:
        self.document = document
        self.folder = folder
        self.warnings: list[str] = []

    def read(self) -> Config:
        value: Any = {} if self.document.value is None else self.document.value
        if not is_object(value):
            raise self.fault("", "A configuration is a mapping with plugins and routes.")
        if "state_store" in value:
            value = {**value, "stateStore": value["state_store"]}
        self.check_fields(value, (*_SECTIONS, "state_store"), "")
        plugins = {
            name: self.read_plugin(member, extend("/plugins", name))
            for name, member in self.section(value, "plugins").items()
        }
        routes = self.read_routes(self.section(value, "routes"), plugins)
        return Config(
            source=Path(self.document.source),
            folder=self.folder,
            plugins=plugins,
            routes=routes,
            storage=self.read_storage(value),
            listen=self.read_listen(self.section(value, "listen")),
            retry=self.read_retry(self.section(value, "retry")),
            limits=self.read_limits(self.section(value, "limits")),
            secrets=self.read_secrets(self.section(value, "secrets")),
            webhooks=self.read_webhooks(self.section(value, "webhooks")),
            retention=self.convert(self.section(value, "retention"), Retention, "/retention"),
            telemetry=self.read_telemetry(value),
            warnings=tuple(self.warnings),
        )

    # --- plugins and routes ------------------------------------------------------------------------------------------

    def read_plugin(self, value: Any, place: str) -> PluginConfig:
        if not is_object(value):
            raise self.fault(place, "A plugin is a mapping with a type, such as {type: builtin}.")
        kind = value.get("type")
        fields = {key: member for key, member in value.items() if key != "type"}
        match kind:
            case "builtin":
                return self.convert(fields, BuiltinConfig, place)
            case "stepflow":
                return self.read_servers(fields, place)
            case "mock":
                return self.read_mock(fields, place)
            case "mcp":
                return self.read_mcp(fields, place)
            case None:
                raise self.fault(place, f"The plugin has no type; give it one of {', '.join(_PLUGIN_TYPES)}.")
            case _:
                message = f"There is no plugin type {kind!r}; use one of {', '.join(_PLUGIN_TYPES)}."
                raise self.fault(extend(place, "type"), message)

    def read_servers(self, fields: dict[str, Any], place: str) -> PluginConfig:
        transport = fields.pop("transport", None)
        ways = [name for name in ("command", "url", "accept") if name in fields]
        if len(ways) != 1:
            raise self.fault(place, 'The plugin needs exactly one of "command", "url" and "accept".')
        if transport not in (None, "stdio", "tcp") or (transport == "stdio" and ways != ["command"]):
            message = f'The transport {transport!r} is not supported; use "stdio" with a command, or a tcp:// url.'
            raise self.fault(extend(place, "transport"), message)
        match ways[0]:
            case "command":
                return self.convert({"cwd": ".", **fields}, StdioConfig, place)
            case "url":
                plugin = self.convert(fields, DialConfig, place)
                self.check(extend(place, "url"), parse_url, plugin.url)
                if plugin.tls is not None and not is_tls(plugin.url):
                    raise self.fault(extend(place, "tls"), '"tls" needs a url that begins with tls://.')
                return plugin
            case _:
                return self.convert(fields, AcceptConfig, place)

    def read_mcp(self, fields: dict[str, Any], place: str) -> McpProcessConfig | McpAddressConfig:
        if ("command" in fields) == ("url" in fields):
            raise self.fault(place, 'An MCP plugin needs exactly one of "command" and "url".')
        if "command" in fields:
            return McpProcessConfig(process=self.convert({"cwd": ".", **fields}, StdioConfig, place))
        server = self.convert(fields, McpAddressConfig, place)
        self.check(extend(place, "url"), server.check)
        return server

    def read_mock(self, fields: dict[str, Any], place: str) -> MockConfig:
        components = fields.get("components")
        if not is_object(components):
            raise self.fault(place, 'A mock plugin needs "components", by path, each with its "behaviors".')
        outcomes: dict[str, Any] = {}
        for path, component in components.items():
            where = extend(extend(place, "components"), path)
            if not is_object(component):
                raise self.fault(where, 'A mock component is a mapping with "behaviors".')
            behaviors = component.get("behaviors")
            outcomes[path] = self.check(where, read_behaviors, path, behaviors)
        return MockConfig(components=outcomes)

    def read_routes(self, value: Mapping[str, Any], plugins: Mapping[str, PluginConfig]) -> tuple[Route, ...]:
        routes = [
            self.read_rule(pattern, rule, where, plugins)
            for pattern, rules in value.items()
            for where, rule in self.rules(rules, extend("/routes", pattern))
        ]
        reached = {route.plugin for route in routes}
        for name, plugin in plugins.items():
            if name in reached:
                continue
            if isinstance(plugin, BuiltinConfig):
                routes.append(Route(f"/builtin/{REST}", name))
            else:
                self.warn(extend("/plugins", name), f"No route leads to the plugin {name!r}, so nothing can call it.")
        return tuple(routes)

    def rules(self, value: Any, place: str) -> list[tuple[str, Any]]:
        if not is_array(value):
            return [(place, value)]
        return [(extend(place, index), rule) for index, rule in enumerate(value)]

    def read_rule(self, pattern: str, rule: Any, place: str, plugins: Mapping[str, PluginConfig]) -> Route:
        name = rule.get("plugin") if is_object(rule) else None
        if not is_object(rule) or not isinstance(name, str):
            raise self.fault(place, "A route is a list of {plugin: NAME}.")
        if others := sorted(rule.keys() - {"plugin"}):
            message = f"{others[0]!r} is not supported in a route; a route only names its plugin."
            raise self.fault(extend(place, others[0]), message)
        if name not in plugins:
            raise self.fault(place, f"There is no plugin {name!r}{_suggest(name, plugins) or '.'}")
        return self.check(place, parse_route, pattern, name)

    # --- storage, addresses, retries ---------------------------------------------------------------------------------

    def read_storage(self, value: Mapping[str, Any]) -> StorageConfig:
        if "storage" not in value and "stateStore" in value:
            return self.read_state_store(self.section(value, "stateStore"))
        fields = self.section(value, "storage")
        match fields.get("type", "sqlite"):
            case "sqlite":
                self.check_fields(fields, ("type", "path"), "/storage")
                return self.read_sqlite(fields.get("path"), "/storage/path")
            case kind if kind in _MEMORY:
                return MemoryStorage()
            case "postgres":
                raise self.fault("/storage/type", "PostgreSQL is not supported in this version; use sqlite or memory.")
            case kind:
                raise self.fault("/storage/type", f"There is no storage type {kind!r}; use sqlite or memory.")

    def read_state_store(self, fields: Mapping[str, Any]) -> StorageConfig:
        """Storage as Stepflow's own configurations have it."""
        kind = fields.get("type", "inMemory")
        if kind in _MEMORY:
            return MemoryStorage()
        url = fields.get("databaseUrl", fields.get("database_url"))
        if kind != "sqlite":
            raise self.fault("/stateStore/type", f"The state store {kind!r} is not supported; use sqlite or inMemory.")
        if url is None:
            return self.read_sqlite(None, "/stateStore")
        if not isinstance(url, str) or not url.startswith("sqlite:"):
            raise self.fault("/stateStore", 'The databaseUrl of a sqlite store is written "sqlite:PATH".')
        path = url.removeprefix("sqlite:").removeprefix("//").partition("?")[0]
        return self.read_sqlite(path, "/stateStore/databaseUrl")

    def read_sqlite(self, path: Any, place: str) -> StorageConfig:
        match path:
            case None:
                return SqliteStorage(path=default_state_path(self.folder))
            case ":memory:":
                return MemoryStorage()
            case str() if path:
                return SqliteStorage(path=(self.folder / path).resolve())
            case _:
                raise self.fault(place, "The path of the database is a text that is not empty.")

    def read_listen(self, fields: Mapping[str, Any]) -> Listen:
        listen = self.convert(fields, Listen, "/listen")
        self.check("/listen", listen.check)
        return listen

    def read_limits(self, fields: Mapping[str, Any]) -> RuntimeLimits:
        limits = self.convert(fields, RuntimeLimits, "/limits")
        self.check("/limits", limits.check)
        return limits

    def read_retry(self, fields: Mapping[str, Any]) -> RetryPolicy:
        findings = Findings()
        backoff = read_backoff(fields.get("backoff"), "/retry/backoff", findings)
        for finding in findings:
            raise self.fault(finding.path, finding.message)
        numbers = {key: member for key, member in fields.items() if key != "backoff"}
        self.check_fields(fields, ("transportMaxRetries", "backoff"), "/retry")
        retries = numbers.get("transportMaxRetries", RetryPolicy().transport_max_retries)
        if not re.fullmatch(r"\d+", str(retries)):
            raise self.fault("/retry/transportMaxRetries", '"transportMaxRetries" is a whole number, 0 or more.')
        return RetryPolicy(int(retries), backoff or Backoff())

    def read_secrets(self, fields: Mapping[str, Any]) -> dict[str, SecretConfig]:
        found: dict[str, SecretConfig] = {}
        for name, member in fields.items():
            place = extend("/secrets", name)
            if not is_object(member) or len(member) != 1 or not member.keys() <= {"env", "file"}:
                raise self.fault(place, "A secret is {env: VARIABLE} or {file: PATH}; its value is not written here.")
            found[name] = self.convert(member, SecretConfig, place)
        return found

    def read_webhooks(self, fields: Mapping[str, Any]) -> WebhookConfig:
        webhooks = self.convert(fields, WebhookConfig, "/webhooks")
        self.check("/webhooks/allow", parse_networks, webhooks.allow)
        return webhooks

    def read_telemetry(self, value: Mapping[str, Any]) -> TelemetryConfig | None:
        if value.get("telemetry") is None:
            return None
        return self.convert(self.section(value, "telemetry"), TelemetryConfig, "/telemetry")

    # --- what all sections share -------------------------------------------------------------------------------------

    def section(self, value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        member = value.get(name)
        if member is None:
            return {}
        if not is_object(member):
            raise self.fault(f"/{name}", f'"{name}" is a mapping.')
        return member

    def convert(self, fields: Mapping[str, Any], kind: type[_S], place: str) -> _S:
        known = [field.encode_name for field in msgspec.structs.fields(kind)]
        self.check_fields(fields, known, place)
        try:
            # Not strict, because a number that was filled in from the environment is a string.
            return msgspec.convert(fields, kind, strict=False, dec_hook=self.read_path)
        except msgspec.ValidationError as error:
            what, _, path = str(error).partition(" - at `$")
            for token in re.findall(r"\.?([\w]+)", path):
                place = extend(place, token)
            message = f"{place.rpartition('/')[2]!r} cannot be used: {what[:1].lower()}{what[1:]}."
            raise self.fault(place, message) from None

    def read_path(self, kind: type[Any], value: Any) -> Any:
        if kind is not Path or not isinstance(value, str):
            raise TypeError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")
        return (self.folder / value).resolve()

    def check_fields(self, fields: Mapping[str, Any], known: Collection[str], place: str) -> None:
        for name in fields:
            if name not in known:
                hint = _suggest(name, known)
                message = f"{name!r} is not a field of {place.rpartition('/')[2] or 'a configuration'}{hint}"
                if hint:
                    raise self.fault(extend(place, name), message)
                self.warn(extend(place, name), f"{message}; it is ignored.")

    def check(self, place: str, parse: Callable[..., _T], *values: Any) -> _T:
        try:
            return parse(*values)
        except ValueError as error:
            raise self.fault(place, str(error)) from None

    def warn(self, place: str, message: str) -> None:
        self.warnings.append(f"{self.document.locate(place)}: {message}")

    def fault(self, place: str, message: str) -> ConfigError:
        return ConfigError(f"{self.document.locate(place)}: {message}")


def _suggest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, 1, 0.75)
    return f"; did you mean {close[0]!r}?" if close else ""
