"""The reference of the configuration, from the Structs that it is read into; `generate` writes it."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct

from protocol.tls import TlsFiles
from stepflow_runtime.app import config as shapes
from stepflow_runtime.connect.stdio import ProcessLimits
from stepflow_runtime.engine.retry import RetryPolicy
from stepflow_runtime.model.flow import Backoff

Sections = tuple[tuple[str, str, type[Struct]], ...]

PLUGINS: Final[Sections] = (
    ("`type: builtin`", "The components `/builtin/…`.", shapes.BuiltinConfig),
    ("`type: stepflow` with `command`", "Component servers that the runtime starts.", shapes.StdioConfig),
    ("`type: stepflow` with `url`", "A component server that listens, and that the runtime dials.", shapes.DialConfig),
    ("`type: stepflow` with `accept`", "Component servers that dial the runtime.", shapes.AcceptConfig),
    ("`type: mcp` with `command`", "MCP servers that the runtime starts.", shapes.StdioConfig),
    ("`type: mcp` with `url`", "An MCP server over HTTP.", shapes.McpAddressConfig),
    ("`type: mock`", "For tests: components whose results are written down.", shapes.MockConfig),
)
SECTIONS: Final[Sections] = (
    ("`storage` with `type: sqlite`", "The default, in `.stepflow/state.db`.", shapes.SqliteStorage),
    ("`listen`", "The addresses of `stepflow serve`.", shapes.Listen),
    ("`retry`", "Failures of the way to a component, and how long to wait.", RetryPolicy),
    ("`secrets`, by name", "Where the value of a secret variable is; one of the two.", shapes.SecretConfig),
    ("`webhooks`", "See [how to use them](../how-to/webhooks.md).", shapes.WebhookConfig),
    ("`retention`", "What a runtime that serves removes by itself.", shapes.Retention),
    ("`telemetry`", "See [how to use it](../how-to/telemetry.md).", shapes.TelemetryConfig),
    ("`limits`", "What the runtime bears; each is named in the error when it is hit.", shapes.RuntimeLimits),
)
PARTS: Final[Sections] = (
    ("`backoff`", "How long to wait between attempts.", Backoff),
    ("`tls`", "PEM files.", TlsFiles),
    ("`limits` of a plugin with `command`", "What the system lets each process use.", ProcessLimits),
)
MEANINGS: Final[Mapping[str, str]] = {
    "accept": "The name under which they introduce themselves: `--connect … --name NAME`.",
    "path": "The file of the database; it is made if it is not there.",
    "env": "The environment variable of the runtime that holds it.",
    "file": "The file that holds it.",
    "transport_max_retries": "How often a step whose server died, or that took too long, is tried again.",
    "backoff": "How long to wait before.",
    "type": "`constant`, `exponential` or `fibonacci`.",
    "min_delay_ms": "The first wait; of a constant back-off, each.",
    "max_delay_ms": "The longest wait.",
    "factor": "Of an exponential one: by what each wait is longer than the one before.",
}
"""What the docstrings of small Structs leave to the names."""


FILLED_IN: Final[Mapping[str, str]] = {"cwd": "`.`", "path": "`.stepflow/state.db`"}
"""Defaults that depend on where the file is, and are filled in when it is read."""


def write_configuration() -> Iterator[str]:
    """The lines of the page."""
    yield "# Configuration"
    yield (
        f"`{shapes.CONFIG_NAMES[0]}` is found by `--config`, by `STEPFLOW_CONFIG`, beside the flow, then in the "
        "current folder. `${VAR:-default}` is filled in. A flag goes over the environment (`STEPFLOW_STORAGE_PATH`, "
        "`STEPFLOW_LISTEN_RPC`), and that over the file. Paths are relative to the file."
    )
    yield "## `plugins`, by name"
    yield from _write_sections(PLUGINS, "###")
    yield "## `routes`"
    yield (
        'The first that matches wins: `"/python/{*component}": [{plugin: python}]`. `"/python"` alone means the same. '
        "A server is sent `/` and what `{*component}` matched."
    )
    yield from _write_sections(SECTIONS, "##")
    yield "`storage` with `type: memory` has no keys: state ends with the process."
    yield "## Shapes inside"
    yield from _write_sections(PARTS, "###")


def _write_sections(sections: Iterable[tuple[str, str, type[Struct]]], level: str) -> Iterator[str]:
    for title, sentence, shape in sections:
        yield f"{level} {title}"
        yield sentence
        yield "| key | type | default | |"
        yield "|---|---|---|---|"
        hints, meanings = get_type_hints(shape), read_args(shape)
        for field in msgspec.structs.fields(shape):
            meaning = meanings.get(field.name) or MEANINGS[field.name]
            kind = _describe(hints[field.name]).replace("|", "\\|")
            yield f"| `{field.encode_name}` | {kind} | {write_default(field)} | {meaning} |"


def write_default(field: msgspec.structs.FieldInfo) -> str:
    """The default of a field, as people write it; empty if there is none."""
    default = field.default
    if default is NODEFAULT and field.default_factory is NODEFAULT:
        return FILLED_IN.get(field.name, "required")
    if default is NODEFAULT:
        default = field.default_factory()
    return _write_value(default)


def _write_value(value: Any) -> str:
    match value:
        case Enum():
            return str(value.value)
        case int() if not isinstance(value, bool):
            return f"{value:,}"
        case tuple() | dict():
            return ", ".join(map(_write_value, value)) or "none"  # pyright: ignore[reportUnknownArgumentType]
        case Struct() | None:
            return ""
        case _:
            return str(value)


def read_args(shape: type[Struct]) -> dict[str, str]:
    """What the `Args:` of a docstring say, by name."""
    _, _, text = (shape.__doc__ or "").partition("Args:")
    meanings: dict[str, str] = {}
    name = ""
    for line in filter(None, map(str.strip, text.splitlines())):
        head, separator, meaning = line.partition(": ")
        if separator and head.isidentifier():
            name, meanings[head] = head, meaning
        elif name:
            meanings[name] += f" {line}"
    return meanings


def _describe(hint: Any) -> str:
    """A type as people say it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _describe(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(part) for part in arguments if part is not types.NoneType)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return f"list of {_describe(arguments[0])}"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " or ".join(f"`{member.value}`" for member in hint)
    if origin is not None or (isinstance(hint, type) and issubclass(hint, Struct)):
        return "mapping"
    return {str: "string", int: "integer", float: "number", bool: "boolean", Path: "path"}.get(hint, str(hint))
