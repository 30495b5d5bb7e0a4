"""`stepflow submit`: a run for a runtime that serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from protocol.errors import LinkClosed
from protocol.methods import GET_RUN
from protocol.runs import GetRunParams
from stepflow_runtime.app.cli.attended import AttendedRun
from stepflow_runtime.app.cli.boundary import ExitCode, find_leaves, run_async
from stepflow_runtime.app.cli.flow_file import load_valid_flow
from stepflow_runtime.app.cli.link import open_link
from stepflow_runtime.app.cli.options import Format, common_options, output_option, url_option, vocabulary_option
from stepflow_runtime.app.cli.progress import show_progress
from stepflow_runtime.app.cli.results import print_results, print_summary
from stepflow_runtime.app.cli.runs_view import print_status
from stepflow_runtime.app.cli.submission import Submission, make_submission, submission_options
from stepflow_runtime.app.cli.watch import exit_code
from stepflow_runtime.model.canonical import is_blob_id


@click.command("submit")
@click.argument("flow", metavar="FLOW")
@submission_options
@click.option("--wait", is_flag=True, help="Wait for the end, and print the results.")
@url_option
@vocabulary_option
@output_option(None)
@click.option("--quiet", "-q", is_flag=True, help="Neither progress nor summary.")
@common_options()
def command(
    flow: str,
    wait: bool,
    url: str,
    output: Format | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Submit a run of FLOW, a file or a flow's id, to a runtime that serves.

    Prints the run; with --wait its results, as `stepflow run` does.
    """
    submission = make_submission(flow if is_blob_id(flow) else load_valid_flow(Path(flow)), **options)
    code: int = run_async(_submit, url, submission, wait, output, quiet)
    return code


async def _submit(url: str, submission: Submission, wait: bool, output: Format | None, quiet: bool) -> ExitCode:
    async with open_link(url) as link:
        attended = AttendedRun(link, submission, cancels=False)
        try:
            if not wait:
                await attended.feed()
                print_status(await link.call(GET_RUN, GetRunParams(attended.run_id)), output or Format.TABLE)
                return ExitCode.SUCCESS
            with show_progress(submission.name, submission.total, wanted=not quiet) as on_status:
                status = await attended.run(on_status)
        except BaseException as error:
            if attended.run_id and any(isinstance(leaf, LinkClosed | KeyboardInterrupt) for leaf in find_leaves(error)):
                click.echo(f"The run goes on; see `stepflow runs watch {attended.run_id}`.", err=True)
            raise
        tally = await print_results(link, status, output, single=submission.single)
        if not quiet:
            print_summary(status, tally)
        return exit_code(status)
