"""`stepflow jobs …`: several runs, one after the other, of a runtime that serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from rich.markup import escape

from protocol.automation import (
    CancelJobParams,
    GetJobParams,
    JobStatus,
    ListJobsParams,
    ListJobsResult,
    SubmitJobParams,
)
from protocol.methods import CANCEL_JOB, GET_JOB, LIST_JOBS, SUBMIT_JOB
from protocol.runs import RunState
from stepflow_runtime.app.cli.boundary import ExitCode, run_async
from stepflow_runtime.app.cli.link import open_link
from stepflow_runtime.app.cli.options import Format, common_options, output_option, url_option
from stepflow_runtime.app.cli.output import paint, print_facts, print_rows
from stepflow_runtime.app.cli.templates import make_template, read_job

JOB_COLUMNS = ("JOB", "NAME", "STATUS", "RUNS", "CREATED")

_EXIT_CODES = {RunState.FAILED: ExitCode.FAILED, RunState.CANCELLED: ExitCode.CANCELLED}


@click.group("jobs")
def command() -> None:
    """Submit jobs: several runs, one after the other; a failure stops the rest."""


_job_argument = click.argument("job_run_id", metavar="JOB")


@command.command("submit")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="Instead of the one in the file.")
@click.option("--idempotency-key", metavar="KEY", help="The same key gives the same job, however often.")
@click.option("--wait", is_flag=True, help="Wait for its end; the exit code then tells how it ended.")
@url_option
@output_option()
@common_options()
def submit_command(
    file: Path, name: str | None, idempotency_key: str | None, wait: bool, url: str, output: Format
) -> int:
    """Submit the job in FILE: YAML or JSON, {name: NAME, runs: [{flow: FILE, inputs: […]}, …]}.

    A run's flow is a file, relative to FILE, or a flow's id; instead of inputs it may name an inputsFile, one a line.
    Its other fields are those of runs/submit: variables, overrides, labels, flowLabel, maxConcurrency, failurePolicy,
    runTimeoutMs.
    """
    stored_name, runs = read_job(file)

    async def submit() -> JobStatus:
        async with open_link(url) as link:
            templates = [await make_template(link, run, file.parent) for run in runs]
            params = SubmitJobParams(
                name=name or stored_name, runs=templates, idempotency_key=idempotency_key, wait=wait or None
            )
            status: JobStatus = await link.call(SUBMIT_JOB, params)
            return status

    return _print(run_async(submit), output, tells=wait)


@command.command("get")
@_job_argument
@click.option("--wait", is_flag=True, help="Wait for its end first; the exit code then tells how it ended.")
@url_option
@output_option()
@common_options()
def get_command(job_run_id: str, wait: bool, url: str, output: Format) -> int:
    """Show a job and its runs."""

    async def get() -> JobStatus:
        async with open_link(url) as link:
            status: JobStatus = await link.call(GET_JOB, GetJobParams(job_run_id, wait or None))
            return status

    return _print(run_async(get), output, tells=wait)


@command.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, newest first.")
@url_option
@output_option()
@common_options()
def list_command(limit: int, url: str, output: Format) -> None:
    """List jobs, the newest first."""

    async def list_jobs() -> list[JobStatus]:
        async with open_link(url) as link:
            page: ListJobsResult = await link.call(LIST_JOBS, ListJobsParams(limit=limit))
            return page.jobs

    print_rows(output, run_async(list_jobs), JOB_COLUMNS, _make_cells, "There are no jobs.")


@command.command("cancel")
@_job_argument
@click.option("--reason", metavar="TEXT", help="Is kept with the job.")
@url_option
@output_option()
@common_options()
def cancel_command(job_run_id: str, reason: str | None, url: str, output: Format) -> None:
    """Cancel a job with the run that it is at, and wait until it has ended."""

    async def cancel() -> JobStatus:
        async with open_link(url) as link:
            status: JobStatus = await link.call(CANCEL_JOB, CancelJobParams(job_run_id, reason))
            return status

    _print(run_async(cancel), output, tells=False)


def _print(job: JobStatus, output: Format, *, tells: bool) -> int:
    print_facts(output, job, _list_facts(job))
    return _EXIT_CODES.get(job.status, ExitCode.SUCCESS) if tells else ExitCode.SUCCESS


def _list_facts(job: JobStatus) -> Iterator[tuple[str, str | None]]:
    yield "job", job.job_run_id + (" [dim](it was there already)[/]" if job.deduplicated else "")
    yield "name", escape(job.name or "")
    yield "status", paint(job.status)
    yield "created", job.created_at
    yield "completed", job.completed_at
    yield "cancelled", escape(job.cancel_reason or "")
    for index, run in enumerate(job.runs):
        label = escape(run.flow_label or run.flow_name or run.flow_id[:14])
        yield f"run {index}", f"{paint(run.status)} {label} {run.run_id or ''}".rstrip()


def _make_cells(job: JobStatus) -> tuple[str, ...]:
    ended = sum(run.status is RunState.SUCCESS for run in job.runs)
    return job.job_run_id, escape(job.name or ""), paint(job.status), f"{ended}/{len(job.runs)}", job.created_at
