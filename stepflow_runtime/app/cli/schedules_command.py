"""`stepflow schedules …`: runs at the times of a cron expression, of a runtime that serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from protocol.automation import (
    CreateScheduleParams,
    ListSchedulesParams,
    ListSchedulesResult,
    Overlap,
    Schedule,
    ScheduleParams,
)
from protocol.methods import CREATE_SCHEDULE, DELETE_SCHEDULE, LIST_SCHEDULES, PAUSE_SCHEDULE, UNPAUSE_SCHEDULE, Method
from stepflow_runtime.app.cli.boundary import run_async
from stepflow_runtime.app.cli.flow_file import load_valid_flow
from stepflow_runtime.app.cli.link import open_link
from stepflow_runtime.app.cli.options import Format, common_options, output_option, request_option, url_option
from stepflow_runtime.app.cli.output import print_facts, print_rows
from stepflow_runtime.app.cli.submission import make_submission, store_flow, template_options
from stepflow_runtime.app.cli.templates import template_of
from stepflow_runtime.model.canonical import is_blob_id

COLUMNS = ("SCHEDULE", "NAME", "CRON", "ZONE", "NEXT", "LAST")


@click.group("schedules")
def command() -> None:
    """Have runs submitted at the times of a cron expression."""


_schedule_argument = click.argument("schedule_id", metavar="SCHEDULE")


@command.command("create")
@click.argument("cron", metavar="CRON")
@click.argument("flow", metavar="FLOW")
@click.option("--time-zone", default="UTC", show_default=True, metavar="ZONE", help="Such as Europe/Berlin.")
@click.option("--name", metavar="NAME", help="For people.")
@click.option(
    "--overlap",
    type=click.Choice(["skip", "queue", "cancelPrevious"]),
    default="skip",
    show_default=True,
    help="When it is time and the run before has not ended.",
)
@click.option(
    "--catch-up",
    "catch_up_s",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Make up for times missed so long ago.",
)
@click.option("--paused", is_flag=True, help="It does not fire before it is unpaused.")
@template_options
@request_option
@url_option
@output_option()
@common_options()
def create_command(
    cron: str,
    flow: str,
    time_zone: str,
    name: str | None,
    overlap: Overlap,
    catch_up_s: float | None,
    paused: bool,
    request_id: str,
    url: str,
    output: Format,
    **options: Any,
) -> None:
    """Have a run of FLOW, a file or a flow's id, submitted at the times of CRON, such as "30 2 * * *"."""
    submission = make_submission(flow if is_blob_id(flow) else load_valid_flow(Path(flow)), **options)

    async def create() -> Schedule:
        async with open_link(url) as link:
            flow_id = flow if submission.flow is None else await store_flow(link, submission.flow)
            params = CreateScheduleParams(
                cron=cron,
                time_zone=time_zone,
                run=template_of(submission, flow_id),
                name=name,
                overlap=overlap,
                catch_up_ms=None if catch_up_s is None else round(catch_up_s * 1000),
                paused=paused or None,
                request_id=request_id,
            )
            schedule: Schedule = await link.call(CREATE_SCHEDULE, params)
            return schedule

    schedule: Schedule = run_async(create)
    print_facts(output, schedule, _list_facts(schedule))


@command.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many, newest first.")
@url_option
@output_option()
@common_options()
def list_command(limit: int, url: str, output: Format) -> None:
    """List schedules, the newest first."""

    async def list_schedules() -> list[Schedule]:
        async with open_link(url) as link:
            page: ListSchedulesResult = await link.call(LIST_SCHEDULES, ListSchedulesParams(limit=limit))
            return page.schedules

    print_rows(output, run_async(list_schedules), COLUMNS, _make_cells, "There are no schedules.")


@command.command("pause")
@_schedule_argument
@url_option
@output_option()
@common_options()
def pause_command(schedule_id: str, url: str, output: Format) -> None:
    """Have a schedule fire no more; the run that it submitted goes on."""
    _change(PAUSE_SCHEDULE, schedule_id, url, output)


@command.command("unpause")
@_schedule_argument
@url_option
@output_option()
@common_options()
def unpause_command(schedule_id: str, url: str, output: Format) -> None:
    """Have it fire again, from now on."""
    _change(UNPAUSE_SCHEDULE, schedule_id, url, output)


@command.command("delete")
@_schedule_argument
@url_option
@common_options()
def delete_command(schedule_id: str, url: str) -> None:
    """Delete a schedule; its runs stay."""

    async def delete() -> None:
        async with open_link(url) as link:
            await link.call(DELETE_SCHEDULE, ScheduleParams(schedule_id))

    run_async(delete)


def _change(method: Method, schedule_id: str, url: str, output: Format) -> None:
    async def change() -> Schedule:
        async with open_link(url) as link:
            schedule: Schedule = await link.call(method, ScheduleParams(schedule_id))
            return schedule

    schedule: Schedule = run_async(change)
    print_facts(output, schedule, _list_facts(schedule))


def _list_facts(schedule: Schedule) -> Iterator[tuple[str, str | None]]:
    yield "schedule", schedule.schedule_id
    yield "name", escape(schedule.name or "")
    yield "cron", f"{escape(schedule.cron)} ({escape(schedule.time_zone)})"
    yield "overlap", schedule.overlap
    yield "next", "paused" if schedule.paused else schedule.next_at
    yield "last", schedule.last_at
    yield "last run", schedule.last_run_id
    yield "last error", escape(schedule.last_error or "")


def _make_cells(schedule: Schedule) -> tuple[str, ...]:
    following = "paused" if schedule.paused else schedule.next_at or "never"
    place = escape(schedule.cron), escape(schedule.time_zone)
    return schedule.schedule_id, escape(schedule.name or ""), *place, following, schedule.last_at or ""
