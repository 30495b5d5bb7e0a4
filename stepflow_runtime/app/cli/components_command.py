"""`stepflow components …`: what flows can call with a configuration. Starts its component servers to ask them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import UNSET
from rich.markup import escape

from protocol.types import ComponentInfo
from stepflow_runtime.app.cli.boundary import CliError, run_async, warn
from stepflow_runtime.app.cli.local import list_components
from stepflow_runtime.app.cli.options import Format, common_options, config_option, output_option
from stepflow_runtime.app.cli.output import print_facts, print_rows
from stepflow_runtime.app.config_file import obtain_config


@click.group("components")
def command() -> None:
    """List the components that flows can call."""


@command.command("list")
@config_option
@output_option()
@common_options()
def list_command(config_path: Path | None, output: Format) -> None:
    """List all components, by the path that a step names."""
    rows = _obtain(config_path)
    print_rows(output, rows, ["COMPONENT", "DESCRIPTION"], _make_cells, "No plugin offers a component.")


def _make_cells(info: ComponentInfo) -> tuple[str, str]:
    return escape(info.component), escape(info.description or "")


@command.command("info")
@click.argument("component", metavar="PATH")
@config_option
@output_option()
@common_options()
def info_command(component: str, config_path: Path | None, output: Format) -> None:
    """Show one component, with the schemas of its input and output."""
    known = {info.component: info for info in _obtain(config_path)}
    if component not in known:
        raise CliError(f"There is no component {component}; `stepflow components list` shows all that there are.")
    info = known[component]
    facts = [
        ("component", escape(info.component)),
        ("description", escape(info.description or "")),
        ("input", _render_schema(info.input_schema)),
        ("output", _render_schema(info.output_schema)),
    ]
    print_facts(output, info, facts)


def _render_schema(schema: Any) -> str:
    if schema is UNSET or schema is None:
        return "[dim]any JSON[/]"
    return escape(msgspec.json.format(msgspec.json.encode(schema), indent=2).decode())


def _obtain(config_path: Path | None) -> list[ComponentInfo]:
    config = obtain_config(config_path)
    warn(config.warnings)

    infos: list[ComponentInfo] = run_async(list_components, config)
    return infos
