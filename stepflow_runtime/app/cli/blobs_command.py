"""`stepflow blobs …`: content by its hash, in a runtime that serves."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import click
import msgspec
from msgspec import Raw

from protocol.methods import GET_BLOB, PUT_BLOB
from protocol.types import BlobType, GetBlobParams, GetBlobResult, PutBlobParams, PutBlobResult
from stepflow_runtime.app.cli.arguments import read_file, read_json
from stepflow_runtime.app.cli.boundary import CliError, run_async
from stepflow_runtime.app.cli.flow_file import load_valid_flow
from stepflow_runtime.app.cli.link import open_link
from stepflow_runtime.app.cli.options import common_options, url_option
from stepflow_runtime.app.cli.output import print_json


@click.group("blobs")
def command() -> None:
    """Store and read content by its hash."""


@command.command("put")
@click.argument("file", metavar="FILE|-")
@click.option("--type", "kind", type=click.Choice([kind.value for kind in BlobType]), default="data", show_default=True)
@url_option
@common_options()
def put_command(file: str, kind: str, url: str) -> None:
    """Store FILE and print its id: JSON or YAML, a flow, or any bytes as `--type binary`."""
    blob_type = BlobType(kind)
    params = PutBlobParams(Raw(_read_content(file, blob_type)), blob_type)

    async def put() -> str:
        async with open_link(url) as link:
            result: PutBlobResult = await link.call(PUT_BLOB, params)
            return result.blob_id

    click.echo(run_async(put))


def _read_content(file: str, blob_type: BlobType) -> bytes:
    match blob_type:
        case BlobType.BINARY:
            raw = sys.stdin.buffer.read() if file == "-" else read_file(Path(file), "FILE")
            return msgspec.json.encode(base64.b64encode(raw).decode())
        case BlobType.FLOW if file != "-":
            return load_valid_flow(Path(file)).content
        case _:
            return read_json("-" if file == "-" else f"@{file}", "FILE")


@command.command("get")
@click.argument("blob_id", metavar="ID")
@click.option("--to", "target", type=click.Path(path_type=Path), metavar="FILE", help="Write it there, not to stdout.")
@url_option
@common_options()
def get_command(blob_id: str, target: Path | None, url: str) -> None:
    """Print the content of a blob: JSON, or the bytes of a binary one."""

    async def get() -> GetBlobResult:
        async with open_link(url) as link:
            result: GetBlobResult = await link.call(GET_BLOB, GetBlobParams(blob_id))
            return result

    blob: GetBlobResult = run_async(get)
    is_binary = blob.blob_type is BlobType.BINARY
    content = base64.b64decode(blob.data) if is_binary else msgspec.json.encode(blob.data)
    if target is not None:
        try:
            target.write_bytes(content)
        except OSError as error:
            raise CliError(f"--to: {target} cannot be written: {error.strerror}.") from None
    elif not is_binary:
        print_json(blob.data)
    elif sys.stdout.isatty():
        raise CliError("The blob is binary and would garble the terminal; write it to a file with --to FILE.")
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
