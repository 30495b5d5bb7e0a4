"""Submitting a run whose inputs stream in: the first items run while the last are still being read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import trio
from msgspec import Raw, Struct

from protocol.link import Link
from protocol.methods import APPEND_RUN, PUT_BLOB, SUBMIT_RUN
from protocol.runs import AppendParams, MaxFailures, RunStatus, SubmitParams
from protocol.types import BlobType, PutBlobParams, PutBlobResult
from stepflow_runtime.app.cli.arguments import JsonLines, read_json, read_object, read_pairs
from stepflow_runtime.app.cli.boundary import CliError
from stepflow_runtime.app.cli.flow_file import FlowFile
from stepflow_runtime.app.cli.options import F
from stepflow_runtime.app.cli.overrides import read_overrides


class Submission(Struct, frozen=True, kw_only=True):
    """A run that is to be submitted.

    Args:
        name: Of the flow, for people.
        flow: The flow as JSON; `None` if `params` names one that is stored.
        chunks: The inputs, read once.
        total: How many inputs there are, if that is known.
        single: Whether it has a single item, so that just its result is wanted.
        params: All but the inputs.
    """

    name: str
    flow: bytes | None
    chunks: Iterator[list[Raw]]
    total: int | None
    single: bool
    params: SubmitParams


def submission_options(function: F) -> F:
    """The inputs of a run, and what its submission may bring with it; the parameters go to `make_submission`."""
    key = click.option("--idempotency-key", metavar="KEY", help="The same key gives the same run, however often.")
    return template_options(key(function))


def template_options(function: F) -> F:
    """The same for a run that the runtime submits itself."""
    file = click.Path(path_type=Path)
    options = [
        click.option(
            "--input", "input_text", metavar="JSON|@FILE|-", help="The input of a single item; {} by default."
        ),
        click.option("--inputs", "inputs_path", type=file, metavar="FILE.jsonl|-", help="The inputs, one a line."),
        click.option("--max-concurrency", type=click.IntRange(1), metavar="N", help="Items at once; 1,000 by default."),
        click.option("--variables", metavar="JSON|@FILE", help="The flow's variables, as an object."),
        click.option("--overrides", metavar="JSON|@FILE", help='Changes to steps: {"steps": {ID: {"value": {…}}}}.'),
        click.option("--failure-policy", metavar="POLICY", help="continue (default), failFast, or how many may fail."),
        click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label; may be given repeatedly."),
        click.option("--timeout", "timeout_s", type=click.FloatRange(0.001), metavar="SECONDS", help="Of the run."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def make_submission(
    flow: FlowFile | str, *, input_text: str | None, inputs_path: Path | None, **options: Any
) -> Submission:
    """What is to be submitted.

    Args:
        flow: A file, or the id of a flow that is stored.
        input_text: `--input`.
        inputs_path: `--inputs`; all of the file is checked.
        options: The other `submission_options`.

    Raises:
        CliError: An option, or a line of the inputs, cannot be read.
    """
    params = _make_params(flow, **options)
    name, content = (flow[:14], None) if isinstance(flow, str) else (flow.name, flow.content)
    if inputs_path is None:
        value = Raw(read_json(input_text, "--input") if input_text is not None else b"{}")
        return Submission(name=name, flow=content, chunks=iter([[value]]), total=1, single=True, params=params)
    if input_text is not None:
        raise CliError("Give either --input, for a single item, or --inputs, for one a line; not both.")
    lines = JsonLines(inputs_path)
    return Submission(name=name, flow=content, chunks=lines.chunks(), total=lines.count(), single=False, params=params)


def _make_params(
    flow: FlowFile | str,
    *,
    max_concurrency: int | None,
    variables: str | None,
    overrides: str | None,
    failure_policy: str | None,
    idempotency_key: str | None = None,
    labels: tuple[str, ...],
    timeout_s: float | None,
) -> SubmitParams:
    return SubmitParams(
        flow_id=flow if isinstance(flow, str) else flow.flow_id,
        inputs=[],
        max_concurrency=max_concurrency,
        variables=read_object(variables, "--variables") if variables else None,
        overrides=None if overrides is None else read_overrides(overrides, flow),
        failure_policy=_read_policy(failure_policy),
        idempotency_key=idempotency_key,
        labels=dict(read_pairs(labels, "--label")) or None,
        run_timeout_ms=int(timeout_s * 1000) if timeout_s else None,
    )


def _read_policy(text: str | None) -> Any:
    match text:
        case None | "continue" | "failFast":
            return text
        case _ if text.isdecimal():
            return MaxFailures(int(text))
        case _:
            raise CliError(f"--failure-policy is continue, failFast or a number, not {text!r}.")


async def submit(link: Link, submission: Submission, on_created: Callable[[RunStatus], None]) -> None:
    """Stores the flow, submits the run and appends to it until all inputs are there.

    Args:
        on_created: Called as soon as the run is durable.

    Raises:
        CliError: An input cannot be read; the run, if there is one, is left open.
        RpcError: The runtime refuses the flow or the run.

    Cancellation: leaves the run open.
    """
    if submission.flow is not None:
        submission.params.flow_id = await store_flow(link, submission.flow)
    inputs = await _read(submission.chunks) or []
    sent = len(inputs)
    is_sealed = sent == submission.total
    params = msgspec.structs.replace(submission.params, inputs=inputs, sealed=None if is_sealed else False)
    created: RunStatus = await link.call(SUBMIT_RUN, params)
    on_created(created)
    while not is_sealed:
        following = await _read(submission.chunks)
        inputs = following or []
        is_sealed = following is None or sent + len(inputs) == submission.total
        await link.call(APPEND_RUN, AppendParams(created.run_id, sent, inputs, sealed=is_sealed))
        sent += len(inputs)


async def store_flow(link: Link, flow: bytes) -> str:
    """Stores a flow, as JSON; its id."""
    stored: PutBlobResult = await link.call(PUT_BLOB, PutBlobParams(Raw(flow), BlobType.FLOW))
    return stored.blob_id


async def _read(chunks: Iterator[list[Raw]]) -> list[Raw] | None:
    """The next chunk, read in a thread: stdin may keep us waiting."""
    return await trio.to_thread.run_sync(next, chunks, None, abandon_on_cancel=True)
