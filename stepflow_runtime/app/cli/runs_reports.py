"""`stepflow runs events|stream|artifacts`: what a run tells while it goes on, and afterwards."""

from __future__ import annotations

import base64
import sys
from typing import Any, Final

import click
import msgspec
from msgspec import Raw, Struct

from protocol.byproducts import (
    DEFAULT_NAMESPACE,
    Artifact,
    Encoding,
    ListArtifactsResult,
    ListStreamsResult,
    ReadStreamParams,
)
from protocol.link import Link
from protocol.methods import LIST_ARTIFACTS, LIST_EVENTS, LIST_STREAMS, READ_STREAM
from protocol.runs import EventsParams, EventsResult, RunEvent, RunParams
from stepflow_runtime.app.cli.boundary import run_async
from stepflow_runtime.app.cli.link import open_link
from stepflow_runtime.app.cli.options import Format, common_options, output_option, url_option
from stepflow_runtime.app.cli.output import print_lines, print_rows, stderr
from stepflow_runtime.app.cli.runs_view import ARTIFACT_COLUMNS, EVENT_COLUMNS, make_artifact_cells, make_event_cells

_PAGE: Final = 1000
_FOLLOW_MS: Final = 60_000

_run_argument = click.argument("run_id", metavar="RUN")


class _Chunk(Struct):
    """A chunk of a stream; its data stays as it came, digit for digit."""

    data: Raw
    encoding: Encoding | None = None


class _Chunks(Struct, rename="camel"):
    chunks: list[_Chunk]
    next_index: int
    tail_index: int
    done: bool


_READ_CHUNKS: Final = msgspec.structs.replace(READ_STREAM, result=_Chunks)


@click.command("events")
@_run_argument
@click.option("--follow", "-f", is_flag=True, help="Go on until the run ends.")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only these, such as item.completed.")
@click.option("--sub-runs", is_flag=True, help="Also those of all runs beneath it.")
@click.option("--limit", type=click.IntRange(1), help="At most so many, the oldest first.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Begin about so many before the end.")
@url_option
@output_option()
@common_options()
def events_command(
    run_id: str,
    follow: bool,
    types: tuple[str, ...],
    sub_runs: bool,
    limit: int | None,
    tail: int | None,
    url: str,
    output: Format,
) -> None:
    """Show what happened in a run, in order."""
    params = EventsParams(run_id, types=list(types) or None, limit=_PAGE, include_sub_runs=sub_runs or None, tail=tail)
    if follow:
        run_async(_follow_events, url, params)
        return
    events = run_async(_list_events, url, params, limit)
    print_rows(output, events, EVENT_COLUMNS, make_event_cells, "There are no such events.")


async def _list_events(url: str, params: EventsParams, limit: int | None) -> list[RunEvent]:
    events: list[RunEvent] = []
    async with open_link(url) as link:
        while limit is None or len(events) < limit:
            page = await _read_events(link, params)
            events += page.events
            if page.done or page.next_cursor == params.cursor:
                break
            params.cursor, params.tail = page.next_cursor, None
    return events[:limit]


async def _follow_events(url: str, params: EventsParams) -> None:
    params.timeout_ms = _FOLLOW_MS
    async with open_link(url) as link:
        done = False
        while not done:
            page = await _read_events(link, params)
            print_lines(map(msgspec.json.encode, page.events))
            params.cursor, params.tail, done = page.next_cursor, None, page.done


async def _read_events(link: Link, params: EventsParams) -> EventsResult:
    result: Any = await link.call(LIST_EVENTS, params)
    events: EventsResult = result
    return events


@click.command("stream")
@_run_argument
@click.option("--namespace", default=DEFAULT_NAMESPACE, show_default=True, metavar="NAME", help="Which stream.")
@click.option("--from", "start", type=int, default=0, metavar="N", help="The first chunk; -1 is the last there is.")
@click.option("--raw", "-r", is_flag=True, help="Write texts and bytes as they are, one after the other.")
@click.option("--no-follow", is_flag=True, help="Only what is there now.")
@url_option
@common_options()
def stream_command(run_id: str, namespace: str, start: int, raw: bool, no_follow: bool, url: str) -> None:
    """Print a stream of a run, as it is written, a chunk a line; Ctrl-C leaves the run running."""
    params = ReadStreamParams(run_id, namespace, start, _PAGE, timeout_ms=0 if no_follow else _FOLLOW_MS)
    run_async(_print_stream, url, params, raw)


async def _print_stream(url: str, params: ReadStreamParams, raw: bool) -> None:
    async with open_link(url) as link:
        while True:
            page: _Chunks = await link.call(_READ_CHUNKS, params)
            if raw:
                sys.stdout.buffer.write(b"".join(map(_unwrap, page.chunks)))
                sys.stdout.buffer.flush()
            else:
                print_lines(bytes(chunk.data) for chunk in page.chunks)
            params.start_index = page.next_index
            if page.done or not (page.chunks or params.timeout_ms):
                break
        if page.tail_index == 0:
            made: ListStreamsResult = await link.call(LIST_STREAMS, RunParams(params.run_id))
            names = ", ".join(stream.namespace for stream in made.streams) or "none"
            stderr().print(f"The stream {params.namespace} is empty; streams of the run: {names}.", highlight=False)


def _unwrap(chunk: _Chunk) -> bytes:
    """A text or bytes as they are; other JSON as a line."""
    if chunk.encoding is Encoding.BASE64:
        return base64.b64decode(msgspec.json.decode(chunk.data, type=str))
    value = msgspec.json.decode(chunk.data)
    return value.encode() if isinstance(value, str) else bytes(chunk.data) + b"\n"


@click.command("artifacts")
@_run_argument
@url_option
@output_option()
@common_options()
def artifacts_command(run_id: str, url: str, output: Format) -> None:
    """List what a run has put; `stepflow blobs get` gives the content."""

    async def fetch() -> list[Artifact]:
        async with open_link(url) as link:
            result: ListArtifactsResult = await link.call(LIST_ARTIFACTS, RunParams(run_id))
            return result.artifacts

    artifacts = run_async(fetch)
    print_rows(output, artifacts, ARTIFACT_COLUMNS, make_artifact_cells, "The run has put no artifacts.")
