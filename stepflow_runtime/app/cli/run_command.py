"""`stepflow run`: a flow, its items and their results, in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import trio

from stepflow_runtime.app.cli.attended import AttendedRun
from stepflow_runtime.app.cli.boundary import ExitCode, run_async, warn
from stepflow_runtime.app.cli.flow_file import load_valid_flow
from stepflow_runtime.app.cli.local import open_local
from stepflow_runtime.app.cli.options import (
    Format,
    common_options,
    config_option,
    flow_argument,
    output_option,
    storage_option,
)
from stepflow_runtime.app.cli.progress import show_progress
from stepflow_runtime.app.cli.results import print_results, print_summary
from stepflow_runtime.app.cli.submission import Submission, make_submission, submission_options
from stepflow_runtime.app.cli.watch import exit_code
from stepflow_runtime.app.config import Config
from stepflow_runtime.app.config_file import obtain_config, override


@click.command("run")
@flow_argument
@submission_options
@config_option
@storage_option
@output_option(None)
@click.option("--quiet", "-q", is_flag=True, help="Neither progress nor summary.")
@common_options()
def command(
    flow: Path,
    config_path: Path | None,
    storage_path: str | None,
    output: Format | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Run FLOW in this process and print its results.

    A single item's result is printed as JSON, those of --inputs as a line an item, by index. Ctrl-C cancels the run.
    """
    checked = load_valid_flow(flow)
    submission = make_submission(checked, **options)
    config = override(obtain_config(config_path, flow=flow), storage_path=storage_path)
    warn(config.warnings)
    code: int = run_async(_run, config, submission, output, quiet)
    return code


async def _run(config: Config, submission: Submission, output: Format | None, quiet: bool) -> ExitCode:
    async with open_local(config) as (_, link):
        started = trio.current_time()
        with show_progress(submission.name, submission.total, wanted=not quiet) as on_status:
            attended = AttendedRun(link, submission, cancels=True)
            status = await attended.run(on_status)
        elapsed_s = trio.current_time() - started
        tally = await print_results(link, status, output, single=submission.single)
        if not quiet:
            print_summary(status, tally, elapsed_s)
    return ExitCode.INTERRUPTED if attended.interrupted else exit_code(status)
