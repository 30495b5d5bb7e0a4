"""`stepflow dev`: a runtime to work with: its console in the browser, and component servers that follow their files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stepflow_runtime.app.cli.boundary import run_async, warn
from stepflow_runtime.app.cli.options import common_options, config_option, storage_option
from stepflow_runtime.app.cli.serve_command import serve
from stepflow_runtime.app.config import DEFAULT_HTTP_ADDRESS
from stepflow_runtime.app.config_file import obtain_config, override
from stepflow_runtime.app.logging import LogLevel

if TYPE_CHECKING:
    from stepflow_runtime.app.runtime import Runtime


@click.command("dev")
@config_option
@click.option(
    "--listen",
    envvar="STEPFLOW_LISTEN_RPC",
    show_envvar=True,
    metavar="HOST:PORT",
    help="For clients and component servers; port 0 takes any that is free.",
)
@click.option(
    "--http",
    envvar="STEPFLOW_LISTEN_HTTP",
    show_envvar=True,
    metavar="HOST:PORT",
    help=f"For the console.  [default: listen.http, or {DEFAULT_HTTP_ADDRESS}]",
)
@click.option("--no-reload", is_flag=True, help="Leave component servers alone when their files change.")
@storage_option
@common_options(LogLevel.INFO)
def command(
    config_path: Path | None, listen: str | None, http: str | None, no_reload: bool, storage_path: str | None
) -> None:
    """Run a runtime with its console until Ctrl-C, and print both addresses.

    The same as `stepflow serve`, with HTTP also where the configuration names no address for it, and with an eye on the
    Python files of the component servers: when one is saved, its servers are started anew. Runs go on; what was being
    executed goes again and uses up no retries. If the new code does not start, the old goes on.
    """
    config = obtain_config(config_path)
    http = http or config.listen.http or DEFAULT_HTTP_ADDRESS
    config = override(config, rpc=listen, http=http, storage_path=storage_path)
    warn(config.warnings)
    run_async(serve, config, None if no_reload else _reload)


async def _reload(runtime: Runtime) -> None:
    from stepflow_runtime.app.reloading import reload_on_change

    await reload_on_change(runtime, partial(click.echo, err=True))
