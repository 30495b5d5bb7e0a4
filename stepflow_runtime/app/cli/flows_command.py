"""`stepflow flows …`: flows as they are written, without running them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.markup import escape

from protocol.flows import Diagnostic, Fit, FlowTypes, ValidateFlowResult
from protocol.types import ComponentInfo
from stepflow_runtime.app.cli.boundary import CliError, ExitCode, run_async
from stepflow_runtime.app.cli.flow_file import FlowFile, load_flow, load_valid_flow
from stepflow_runtime.app.cli.flows_replay import replay_command
from stepflow_runtime.app.cli.local import infer_types, list_components
from stepflow_runtime.app.cli.options import Format, common_options, config_option, flow_argument, output_option
from stepflow_runtime.app.cli.output import (
    make_table,
    print_facts,
    print_json,
    print_lines,
    print_table,
    shorten,
    stdout,
)
from stepflow_runtime.app.config import Config
from stepflow_runtime.app.config_file import obtain_config
from stepflow_runtime.model.builder_code import write_builder_code
from stepflow_runtime.model.graph import build_graph, render_mermaid
from stepflow_runtime.model.types.reading import read_schema
from stepflow_runtime.model.types.writing import describe


@click.group("flows")
def command() -> None:
    """Check flows, show them, draw them, tell their ids, write them as Python, replay runs of them."""


command.add_command(replay_command)


@command.command("validate")
@click.argument("flows", metavar="FLOW...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--components", is_flag=True, help="Also start the component servers, and check against what they list.")
@click.option("--types", is_flag=True, help="Also start them, and infer and check what each step is given and gives.")
@config_option
@output_option()
@common_options()
def validate_command(
    flows: tuple[Path, ...], components: bool, types: bool, config_path: Path | None, output: Format
) -> int:
    """Check FLOWs; the exit code is 2 if one of them cannot run."""
    config = obtain_config(config_path, flow=flows[0]) if components or types else None
    known = _obtain_components(config) if config is not None and not types else None
    checked = [load_flow(path, known) for path in flows]
    if config is not None and types:
        checked = _infer_types(config, checked)
    found = [_locate(flow, finding) for flow in checked for finding in flow.findings]
    if types:
        found = [
            {
                "file": str(flow.path),
                "diagnostics": [_locate(flow, finding) for finding in flow.findings],
                "types": msgspec.to_builtins(flow.types),
            }
            for flow in checked
        ]
    match output:
        case Format.JSON:
            print_json(found)
        case Format.JSONL:
            print_lines(map(msgspec.json.encode, found))
        case Format.TABLE:
            for flow in checked:
                _print_findings(flow)
    return ExitCode.USAGE if any(flow.errors for flow in checked) else ExitCode.SUCCESS


def _locate(flow: FlowFile, finding: Diagnostic) -> dict[str, Any]:
    place = flow.find(finding)
    where = {"line": place.line, "column": place.column} if place else {}
    return {"file": str(flow.path), **where, **msgspec.to_builtins(finding)}


def _infer_types(config: Config, flows: list[FlowFile]) -> list[FlowFile]:
    """The flows with the findings and types that their components give reason for; those with errors as they are."""
    sound = [flow for flow in flows if not flow.errors]
    results: list[ValidateFlowResult] = run_async(infer_types, config, [flow.content for flow in sound])
    typed = {
        flow.path: FlowFile(flow.path, flow.document, tuple(result.diagnostics), result.types)
        for flow, result in zip(sound, results, strict=True)
    }
    return [typed.get(flow.path, flow) for flow in flows]


def _print_findings(flow: FlowFile) -> None:
    for finding in flow.findings:
        stdout().print(escape(flow.describe(finding)), highlight=False, soft_wrap=True)
    if not flow.errors:
        count = len(flow.flow.steps)
        stdout().print(f"{escape(str(flow.path))}: [green]valid[/], {count} {'step' if count == 1 else 'steps'}")
    if flow.types is not None:
        _print_types(flow.types)


def _print_types(types: FlowTypes) -> None:
    table = make_table(["STEP", "GIVEN", "GIVES", "FIT"])
    for step in types.steps:
        cells = (step.id, describe(read_schema(step.input)), describe(read_schema(step.output)), _FITS[step.fit])
        table.add_row(*map(escape, cells))
    table.add_row("[dim]output[/]", escape(describe(read_schema(types.output))))
    print_table(table)
    if types.unknown:
        stdout().print(f"too little is declared to tell at {types.unknown} of {len(types.steps) + 1} places")


_FITS: Final = {Fit.FITS: "yes", Fit.UNKNOWN: "unknown", Fit.MAY_MISFIT: "perhaps not", Fit.MISFITS: "no"}


def _obtain_components(config: Config) -> Callable[[str], ComponentInfo | None]:
    infos: list[ComponentInfo] = run_async(list_components, config)
    known = {info.component: info for info in infos}
    return known.get


@command.command("show")
@flow_argument
@output_option()
@common_options()
def show_command(flow: Path, output: Format) -> None:
    """Show what FLOW is made of; with -o json the flow itself, as it is stored."""
    checked = load_flow(flow)
    if output is not Format.TABLE:
        print_lines([checked.content]) if output is Format.JSONL else print_json(checked.document.value)
        return
    described = checked.flow
    facts = [
        ("name", escape(described.name or "")),
        ("description", escape(described.description or "")),
        ("version", escape(described.version or "")),
        ("flow id", checked.flow_id),
        ("steps", str(len(described.steps))),
    ]
    print_facts(output, None, facts)
    table = make_table(["STEP", "COMPONENT", "INPUT", "ON ERROR"])
    for step in described.steps:
        shown = shorten(msgspec.json.encode(step.input).decode(), 80)
        emphasis = " [dim](must execute)[/]" if step.must_execute else ""
        table.add_row(escape(step.id) + emphasis, escape(step.component), escape(shown), step.on_error.action)
    print_table(table)


@command.command("graph")
@flow_argument
@click.option("--output", "-o", type=click.Choice(["mermaid", "json"]), default="mermaid", show_default=True)
@common_options()
def graph_command(flow: Path, output: str) -> None:
    """Draw FLOW's steps and the references between them, as a Mermaid flowchart."""
    graph = build_graph(load_valid_flow(flow).flow)
    if output == "json":
        print_json(graph)
    else:
        click.echo(render_mermaid(graph), nl=False)


@command.command("id")
@flow_argument
@common_options()
def id_command(flow: Path) -> None:
    """Print the id that FLOW has when it is stored."""
    click.echo(load_valid_flow(flow).flow_id)


@command.command("builder")
@flow_argument
@common_options()
def builder_command(flow: Path) -> None:
    """Print Python code that builds FLOW with component_sdk's FlowBuilder: the same flow, with the same id."""
    try:
        click.echo(write_builder_code(load_valid_flow(flow).document.value, flow.name), nl=False)
    except ValueError as error:
        raise CliError(f"{flow}: {error}") from None
