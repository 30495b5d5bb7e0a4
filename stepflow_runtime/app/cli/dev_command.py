"""`stepflow dev`: a runtime to work with, with its console in the browser."""

from __future__ import annotations

from pathlib import Path

import click

from stepflow_runtime.app.cli.boundary import run_async, warn
from stepflow_runtime.app.cli.options import common_options, config_option, storage_option
from stepflow_runtime.app.cli.serve_command import serve
from stepflow_runtime.app.config import DEFAULT_HTTP_ADDRESS
from stepflow_runtime.app.config_file import obtain_config, override
from stepflow_runtime.app.logging import LogLevel


@click.command("dev")
@config_option
@click.option("--listen", metavar="HOST:PORT", help="For clients and component servers; port 0 takes any that is free.")
@click.option(
    "--http", metavar="HOST:PORT", help=f"For the console.  [default: listen.http, or {DEFAULT_HTTP_ADDRESS}]"
)
@storage_option
@common_options(LogLevel.INFO)
def command(config_path: Path | None, listen: str | None, http: str | None, storage_path: str | None) -> None:
    """Run a runtime with its console until Ctrl-C, and print both addresses.

    The same as `stepflow serve`, with HTTP also where the configuration names no address for it.
    """
    config = obtain_config(config_path)
    http = http or config.listen.http or DEFAULT_HTTP_ADDRESS
    config = override(config, rpc=listen, http=http, storage_path=storage_path)
    warn(config.warnings)
    run_async(serve, config)
