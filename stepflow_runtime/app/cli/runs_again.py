"""`stepflow runs restart|time-travel`: what a run did goes again, as far as it is wanted."""

from __future__ import annotations

from typing import Literal

import click
from msgspec import UNSET, Raw, Struct

from protocol.forking import RestartParams, TimeTravelParams
from protocol.methods import RESTART_RUN, TIME_TRAVEL, Method
from protocol.runs import RunStatus
from stepflow_runtime.app.cli.arguments import read_json, read_pairs
from stepflow_runtime.app.cli.boundary import ExitCode, run_async
from stepflow_runtime.app.cli.link import open_link
from stepflow_runtime.app.cli.options import (
    Format,
    common_options,
    output_option,
    request_option,
    url_option,
    vocabulary_option,
)
from stepflow_runtime.app.cli.runs_view import print_status
from stepflow_runtime.app.cli.watch import exit_code, follow_run

_run_argument = click.argument("run_id", metavar="RUN")
_items_option = click.option(
    "--item", "items", multiple=True, type=click.IntRange(0), metavar="N", help="Only this item, from 0; repeatable."
)
_wait_option = click.option("--wait", is_flag=True, help="Wait for its end; the exit code then tells how it ended.")


@click.command("restart")
@_run_argument
@click.option("--only", type=click.Choice(["failed"]), help="Leave items that were cancelled as they are.")
@_items_option
@request_option
@_wait_option
@url_option
@vocabulary_option
@output_option()
@common_options()
def restart_command(
    run_id: str,
    only: Literal["failed"] | None,
    items: tuple[int, ...],
    request_id: str,
    wait: bool,
    url: str,
    output: Format,
) -> int | None:
    """Have the active steps of a run go again; of one that has ended, in a fork, what did not succeed."""
    params = RestartParams(run_id, list(items) or None, only, request_id=request_id)
    code: int | None = run_async(_go_again, url, RESTART_RUN, params, wait, output)
    return code


@click.command("time-travel")
@_run_argument
@click.argument("step")
@click.option("--input", "given", metavar="JSON|@FILE|-", help="What the step is executed with, instead of its input.")
@click.option("--resume-data", metavar="JSON|@FILE|-", help="What the step's last suspension returns.")
@click.option(
    "--context", multiple=True, metavar="STEP=JSON|@FILE", help="The output of a step that gave none; repeatable."
)
@_items_option
@request_option
@_wait_option
@url_option
@vocabulary_option
@output_option()
@common_options()
def time_travel_command(
    run_id: str,
    step: str,
    given: str | None,
    resume_data: str | None,
    context: tuple[str, ...],
    items: tuple[int, ...],
    request_id: str,
    wait: bool,
    url: str,
    output: Format,
) -> int | None:
    """Execute STEP again with all that depends on it, in a fork; the run itself stays as it is."""
    pairs = read_pairs(context, "--context")
    params = TimeTravelParams(
        run_id,
        step,
        list(items) or None,
        UNSET if given is None else Raw(read_json(given, "--input")),
        UNSET if resume_data is None else Raw(read_json(resume_data, "--resume-data")),
        {name: Raw(read_json(text, "--context")) for name, text in pairs.items()} or None,
        request_id=request_id,
    )
    code: int | None = run_async(_go_again, url, TIME_TRAVEL, params, wait, output)
    return code


async def _go_again(url: str, method: Method, params: Struct, wait: bool, output: Format) -> ExitCode | None:
    async with open_link(url) as link:
        status: RunStatus = await link.call(method, params)
        if wait:
            status = await follow_run(link, status.run_id)
        print_status(status, output)
        return exit_code(status) if wait else None
