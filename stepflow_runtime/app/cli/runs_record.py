"""`stepflow runs record`: a run as a file that can be kept with the code, to try what comes after against it."""

from __future__ import annotations

from pathlib import Path

import click

from protocol.recording import Recording, encode_recording, record
from stepflow_runtime.app.cli.boundary import CliError, run_async
from stepflow_runtime.app.cli.link import open_link
from stepflow_runtime.app.cli.options import common_options, url_option


@click.command("record")
@click.argument("run_id", metavar="RUN")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@url_option
@common_options()
def record_command(run_id: str, file: Path, url: str) -> None:
    """Write what RUN did to FILE: its flow, its items, and what each component was asked and answered.

    `component_sdk.testing.replay` tries changed components with it, `stepflow flows replay` a changed flow. FILE holds
    inputs and outputs as they were: look through it before you share it.
    """
    recording: Recording = run_async(_record, url, run_id)
    content = encode_recording(recording)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise CliError(f"{file} cannot be written: {error.strerror or error}.") from None
    click.echo(f"{file}: items: {len(recording.items)}, sub-runs: {len(recording.sub_runs)}", err=True)


async def _record(url: str, run_id: str) -> Recording:
    async with open_link(url) as link:
        return await record(link.call, run_id)
