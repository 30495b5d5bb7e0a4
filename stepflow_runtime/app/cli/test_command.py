"""`stepflow test`: the test cases that flows bring with them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import UNSET, Raw
from rich.markup import escape

from protocol.link import Link
from protocol.methods import PUT_BLOB, SUBMIT_RUN
from protocol.runs import RunStatus, SubmitParams
from protocol.types import BlobType, PutBlobParams, PutBlobResult
from stepflow_runtime.app.cli.boundary import ExitCode, run_async, warn
from stepflow_runtime.app.cli.case_update import update_cases
from stepflow_runtime.app.cli.cases import Suite, Verdict, choose_config, diff, find_suites, judge
from stepflow_runtime.app.cli.local import open_local
from stepflow_runtime.app.cli.options import Format, common_options, config_option, output_option
from stepflow_runtime.app.cli.output import print_json, print_lines, shorten, stdout
from stepflow_runtime.app.cli.watch import read_results
from stepflow_runtime.app.config import Config, MemoryStorage


@click.command("test")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--update", is_flag=True, help="Write what came into the flows as what is expected.")
@click.option("--diff", "show_diff", is_flag=True, help="Show line by line what differs.")
@config_option
@output_option()
@common_options()
def command(paths: tuple[Path, ...], update: bool, show_diff: bool, config_path: Path | None, output: Format) -> int:
    """Run the test cases of flows: of each PATH that is a file, and of all flows beneath each that is a folder.

    They run in this process and keep no state. The configuration is that of the flow's `test.config`, else the one
    that is found beside the flow.
    """
    verdicts: list[Verdict] = []
    for suite in find_suites(paths):
        found = _run_suite(suite, config_path)
        verdicts += found
        if output is Format.TABLE:
            _print_suite(suite, found, show_diff)
        if update:
            _update(suite, found)
    failed = sum(not verdict.passed for verdict in verdicts)
    match output:
        case Format.JSON:
            print_json(verdicts)
        case Format.JSONL:
            print_lines(map(msgspec.json.encode, verdicts))
        case Format.TABLE:
            _print_total(len(verdicts), failed, update)
    return ExitCode.FAILED if failed and not update else ExitCode.SUCCESS


def _run_suite(suite: Suite, config_path: Path | None) -> list[Verdict]:
    config = choose_config(suite, config_path, os.environ)
    warn(config.warnings)
    results: dict[int, Any] = run_async(_run_cases, msgspec.structs.replace(config, storage=MemoryStorage()), suite)
    return [judge(suite, case, results[case.index]) for case in suite.cases]


async def _run_cases(config: Config, suite: Suite) -> dict[int, Any]:
    """The cases are the items of one run."""
    inputs = [Raw(msgspec.json.encode(case.input)) for case in suite.cases]
    async with open_local(config) as (_, link):
        flow: PutBlobResult = await link.call(PUT_BLOB, PutBlobParams(Raw(suite.flow.content), BlobType.FLOW))
        status: RunStatus = await link.call(SUBMIT_RUN, SubmitParams(flow.blob_id, inputs, wait=True))
        return await _collect(link, status.run_id)


async def _collect(link: Link, run_id: str) -> dict[int, Any]:
    results: dict[int, Any] = {}
    async for page in read_results(link, run_id):
        results |= {entry.item_index: msgspec.json.decode(entry.result) for entry in page}
    return results


def _update(suite: Suite, verdicts: list[Verdict]) -> None:
    changed = {
        case.index: verdict.actual
        for case, verdict in zip(suite.cases, verdicts, strict=True)
        if not verdict.passed or case.expected is UNSET
    }
    if changed:
        update_cases(suite, changed)
        names = ", ".join(suite.cases[index].name for index in changed)
        click.echo(f"updated {suite.flow.path}: {names}", err=True)


def _print_suite(suite: Suite, verdicts: list[Verdict], show_diff: bool) -> None:
    console = stdout()
    console.print(f"[bold]{escape(str(suite.flow.path))}[/]")
    for verdict in verdicts:
        mark = "[green]✓[/]" if verdict.passed else "[red]✗[/]"
        console.print(f"  {mark} {escape(verdict.case)}", highlight=False)
        if verdict.passed:
            continue
        if show_diff:
            for line in diff(verdict):
                style = {"+": "green", "-": "red", "@": "cyan"}.get(line[0], "dim")
                console.print(f"      [{style}]{escape(line)}[/]", highlight=False, soft_wrap=True)
        else:
            expected = "success" if verdict.expected is UNSET else _show(verdict.expected)
            console.print(f"      expected {escape(expected)}", highlight=False, soft_wrap=True)
            console.print(f"      got      {escape(_show(verdict.actual))}", highlight=False, soft_wrap=True)


def _show(value: Any) -> str:
    return shorten(msgspec.json.encode(value).decode(), 300)


def _print_total(count: int, failed: int, update: bool) -> None:
    total = f"{count} {'case' if count == 1 else 'cases'}"
    if not failed:
        stdout().print(f"{total}, [green]all passed[/]", highlight=False)
    else:
        hint = "" if update else "; --diff shows how, --update takes what came as what is expected"
        stdout().print(f"{total}, [red]{failed} failed[/]{hint}", highlight=False)
