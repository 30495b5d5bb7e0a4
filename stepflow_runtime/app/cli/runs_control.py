"""`stepflow runs resume|wake|pause|unpause`: what is done to a run that waits, or is to wait."""

from __future__ import annotations

import click
from msgspec import UNSET, Raw

from protocol.methods import PAUSE_RUN, RESUME_RUN, UNPAUSE_RUN, WAKE_UP_RUN, Method
from protocol.runs import ResumeParams, RunParams, RunStatus, WakeUpParams, WakeUpResult
from stepflow_runtime.app.cli.arguments import read_json
from stepflow_runtime.app.cli.boundary import run_async
from stepflow_runtime.app.cli.link import open_link
from stepflow_runtime.app.cli.options import (
    Format,
    common_options,
    output_option,
    request_option,
    url_option,
    vocabulary_option,
)
from stepflow_runtime.app.cli.output import stderr
from stepflow_runtime.app.cli.runs_view import print_status

_run_argument = click.argument("run_id", metavar="RUN")


@click.command("resume")
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--data", metavar="JSON|@FILE|-", help="What the step is resumed with; default, null.")
@click.option("--step", metavar="ID", help="The step that is meant.")
@click.option("--label", metavar="LABEL", help="The suspension of the step that is meant.")
@click.option("--item", "item_index", type=click.IntRange(0), metavar="N", help="The item that is meant, from 0.")
@click.option("--token", metavar="TOKEN", help="The token of the suspension; RUN need not be given then.")
@request_option
@click.option("--wait", is_flag=True, help="Wait until the run has ended, or waits again.")
@url_option
@vocabulary_option
@output_option()
@common_options()
def resume_command(
    run_id: str | None,
    data: str | None,
    step: str | None,
    label: str | None,
    item_index: int | None,
    token: str | None,
    request_id: str,
    wait: bool,
    url: str,
    output: Format,
) -> None:
    """Resume a step that waits; if several do, say which one."""
    if run_id is None and token is None:
        raise click.UsageError("Name the run, or give --token.")
    resume_data = UNSET if data is None else Raw(read_json(data, "--data"))
    params = ResumeParams(run_id, step, label, item_index, token, resume_data, request_id, wait or None)
    print_status(run_async(_ask, url, RESUME_RUN, params), output)


@click.command("wake")
@_run_argument
@click.option("--id", "correlation_ids", multiple=True, metavar="ID", help="Only sleeps with this correlation id.")
@url_option
@common_options()
def wake_command(run_id: str, correlation_ids: tuple[str, ...], url: str) -> None:
    """End the sleeps of a run before their time."""
    params = WakeUpParams(run_id, list(correlation_ids) or None)
    result: WakeUpResult = run_async(_ask, url, WAKE_UP_RUN, params)
    stderr().print(f"{result.stopped_count} {'sleep' if result.stopped_count == 1 else 'sleeps'} ended")


@click.command("pause")
@_run_argument
@url_option
@vocabulary_option
@output_option()
@common_options()
def pause_command(run_id: str, url: str, output: Format) -> None:
    """Begin no step of a run any more; what is in flight may end."""
    print_status(run_async(_ask, url, PAUSE_RUN, RunParams(run_id)), output)


@click.command("unpause")
@_run_argument
@url_option
@vocabulary_option
@output_option()
@common_options()
def unpause_command(run_id: str, url: str, output: Format) -> None:
    """Let a paused run go on."""
    print_status(run_async(_ask, url, UNPAUSE_RUN, RunParams(run_id)), output)


async def _ask(url: str, method: Method, params: ResumeParams | WakeUpParams | RunParams) -> RunStatus | WakeUpResult:
    async with open_link(url) as link:
        answer: RunStatus | WakeUpResult = await link.call(method, params)
        return answer
