"""`stepflow runs …`: what a runtime that serves has, and had, to do."""

from __future__ import annotations

import sys

import click
import msgspec

from protocol.methods import CANCEL_RUN, DELETE_RUN, GET_RUN, LIST_RUNS
from protocol.runs import (
    CancelOutcome,
    CancelRunParams,
    CancelRunResult,
    GetRunParams,
    ListRunsParams,
    ListRunsResult,
    ResultOrder,
    RunParams,
    RunState,
    RunStatus,
)
from stepflow_runtime.app.cli.age import Age
from stepflow_runtime.app.cli.arguments import read_pairs
from stepflow_runtime.app.cli.boundary import ExitCode, run_async
from stepflow_runtime.app.cli.link import open_link
from stepflow_runtime.app.cli.options import Format, common_options, output_option, url_option, vocabulary_option
from stepflow_runtime.app.cli.output import print_lines, stderr
from stepflow_runtime.app.cli.results import Tally, print_results, print_summary
from stepflow_runtime.app.cli.retention import delete_older
from stepflow_runtime.app.cli.run_watching import watch_live
from stepflow_runtime.app.cli.runs_again import restart_command, time_travel_command
from stepflow_runtime.app.cli.runs_control import pause_command, resume_command, unpause_command, wake_command
from stepflow_runtime.app.cli.runs_record import record_command
from stepflow_runtime.app.cli.runs_reports import artifacts_command, events_command, stream_command
from stepflow_runtime.app.cli.runs_states import states_command
from stepflow_runtime.app.cli.runs_view import make_run_value, print_runs, print_status
from stepflow_runtime.app.cli.watch import exit_code, follow_run, read_results
from stepflow_runtime.model.status import TERMINAL_RUN_STATES

_PAGE = 1000


@click.group("runs")
def command() -> None:
    """Look at runs of a runtime that serves, resume, restart, pause, cancel or delete them."""


for more in (
    resume_command,
    restart_command,
    time_travel_command,
    wake_command,
    pause_command,
    unpause_command,
    events_command,
    stream_command,
    artifacts_command,
    states_command,
    record_command,
):
    command.add_command(more)


_run_argument = click.argument("run_id", metavar="RUN")


@command.command("list")
@click.option("--status", type=click.Choice([state.value for state in RunState]), help="Only runs in this state.")
@click.option("--flow-name", metavar="NAME", help="Only runs of flows with this name.")
@click.option("--flow-id", metavar="ID", help="Only runs of this flow.")
@click.option("--parent", metavar="RUN", help="Only the direct sub-runs of this run.")
@click.option("--root", metavar="RUN", help="Only this run and all beneath it.")
@click.option("--job", metavar="JOB", help="Only the runs of this job.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Only runs with this label.")
@click.option("--created-after", metavar="TIME", help="Only runs after this, like 2026-01-31T08:00Z.")
@click.option("--created-before", metavar="TIME", help="Only runs before this.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, the newest first.")
@url_option
@vocabulary_option
@output_option()
@common_options()
def list_command(
    status: str | None,
    flow_name: str | None,
    flow_id: str | None,
    parent: str | None,
    root: str | None,
    job: str | None,
    labels: tuple[str, ...],
    created_after: str | None,
    created_before: str | None,
    limit: int,
    url: str,
    output: Format,
) -> None:
    """List runs, the newest first."""
    params = ListRunsParams(
        status=RunState(status) if status else None,
        flow_id=flow_id,
        flow_name=flow_name,
        parent_run_id=parent,
        root_run_id=root,
        job_run_id=job,
        labels=dict(read_pairs(labels, "--label")) or None,
        created_after=created_after,
        created_before=created_before,
    )
    runs = run_async(_list, url, params, limit)
    print_runs(output, runs, "There are no such runs.")


async def _list(url: str, params: ListRunsParams, limit: int) -> list[RunStatus]:
    runs: list[RunStatus] = []
    async with open_link(url) as link:
        while len(runs) < limit:
            params.limit = min(limit - len(runs), _PAGE)
            page: ListRunsResult = await link.call(LIST_RUNS, params)
            runs += page.runs
            params.cursor = page.next_cursor
            if params.cursor is None:
                break
    return runs


@command.command("get")
@_run_argument
@click.option("--wait", is_flag=True, help="Wait for its end first; the exit code then tells how it ended.")
@click.option("--results", is_flag=True, help="Print the results that there are, a line each.")
@click.option(
    "--order",
    type=click.Choice([order.value for order in ResultOrder]),
    default=ResultOrder.BY_INDEX.value,
    show_default=True,
    help="Of the results.",
)
@click.option("--limit", type=click.IntRange(1), help="At most so many results.")
@url_option
@vocabulary_option
@output_option(None)
@common_options()
def get_command(
    run_id: str, wait: bool, results: bool, order: str, limit: int | None, url: str, output: Format | None
) -> int | None:
    """Show a run, or its results."""
    code: int | None = run_async(_get, url, run_id, wait, ResultOrder(order) if results else None, limit, output)
    return code


async def _get(
    url: str, run_id: str, wait: bool, order: ResultOrder | None, limit: int | None, output: Format | None
) -> ExitCode | None:
    async with open_link(url) as link:
        status: RunStatus = await (follow_run(link, run_id) if wait else link.call(GET_RUN, GetRunParams(run_id)))
        if order is None:
            print_status(status, output or Format.TABLE)
        else:
            await print_results(link, status, output, order=order, limit=limit)
        return exit_code(status) if wait else None


@command.command("watch")
@_run_argument
@url_option
@vocabulary_option
@output_option()
@common_options()
def watch_command(run_id: str, url: str, output: Format) -> int:
    """Watch a run until it ends: its items, sub-runs and failures, live; Ctrl-C leaves it running.

    With -o jsonl its status is printed a few times a second, a line each.
    """
    code: int = run_async(_watch, url, run_id, output)
    return code


async def _watch(url: str, run_id: str, output: Format) -> ExitCode:
    async with open_link(url) as link:
        status: RunStatus = await link.call(GET_RUN, GetRunParams(run_id))
        if output is Format.JSONL:
            status = await follow_run(link, run_id, _print_line)
            return exit_code(status)
        status = await (watch_live(link, run_id, stderr()) if sys.stderr.isatty() else follow_run(link, run_id))
        tally = Tally()
        if status.items.failed:
            async for page in read_results(link, run_id):
                for entry in page:
                    tally.add(entry)
        if output is Format.JSON:
            print_status(status, output)
        print_summary(status, tally)
        return exit_code(status)


def _print_line(status: RunStatus) -> None:
    print_lines([msgspec.json.encode(make_run_value(status))])


@command.command("cancel")
@click.argument("run_ids", metavar="RUN...", nargs=-1, required=True)
@click.option("--reason", metavar="TEXT", help="Is kept with the run.")
@click.option(
    "--grace",
    "grace_s",
    type=click.FloatRange(0),
    default=5.0,
    show_default=True,
    help="Seconds in which results still count.",
)
@url_option
@vocabulary_option
@output_option()
@common_options()
def cancel_command(run_ids: tuple[str, ...], reason: str | None, grace_s: float, url: str, output: Format) -> None:
    """Cancel runs, and wait until they have ended."""

    async def cancel() -> list[CancelRunResult]:
        async with open_link(url) as link:
            return [
                await link.call(CANCEL_RUN, CancelRunParams(run_id, reason=reason, grace_ms=int(grace_s * 1000)))
                for run_id in run_ids
            ]

    ended: list[CancelRunResult] = run_async(cancel)
    print_runs(output, [result.run for result in ended])
    for result in ended:
        if result.outcome is CancelOutcome.NOT_CANCELLABLE:
            stderr().print(f"The run {result.run.run_id} had ended before; nothing was changed.")


@command.command("delete")
@click.argument("run_ids", metavar="[RUN...]", nargs=-1)
@click.option("--older-than", "age_s", type=Age(), metavar="AGE", help="Those that ended so long ago, like 30d or 12h.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(sorted(state.value for state in TERMINAL_RUN_STATES)),
    help="With --older-than: only those that ended so.",
)
@click.option("--dry-run", is_flag=True, help="With --older-than: delete nothing, only tell what would be.")
@url_option
@common_options()
def delete_command(
    run_ids: tuple[str, ...], age_s: int | None, statuses: tuple[str, ...], dry_run: bool, url: str
) -> None:
    """Delete ended runs and all beneath them, for good; blobs stay, see `stepflow db gc`."""
    if bool(run_ids) == (age_s is not None):
        raise click.UsageError("Name runs, or give --older-than.")
    if age_s is None:
        run_async(_delete, url, run_ids)
    else:
        run_async(_delete_older, url, age_s, [RunState(status) for status in statuses], dry_run)


async def _delete(url: str, run_ids: tuple[str, ...]) -> None:
    async with open_link(url) as link:
        for run_id in run_ids:
            await link.call(DELETE_RUN, RunParams(run_id))
            stderr().print(f"deleted {run_id}")


async def _delete_older(url: str, age_s: int, statuses: list[RunState], pretend: bool) -> None:
    count = 0
    async with open_link(url) as link:
        async for expired in delete_older(link, age_s, statuses, pretend=pretend):
            if expired.obstacle is not None:
                stderr().print(f"kept {expired.run.run_id}: {expired.obstacle}")
                continue
            count += 1
            print_lines([expired.run.run_id.encode()])
    stderr().print(f"{count} {'run' if count == 1 else 'runs'} {'would be deleted' if pretend else 'deleted'}")
