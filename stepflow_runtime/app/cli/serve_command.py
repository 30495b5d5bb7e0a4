"""`stepflow serve`: a runtime that clients and component servers connect to."""

from __future__ import annotations

import signal
from pathlib import Path

import click
import trio

from stepflow_runtime import __version__
from stepflow_runtime.app.cli.boundary import CliError, run_async, warn
from stepflow_runtime.app.cli.local import open_configured
from stepflow_runtime.app.cli.options import common_options, config_option, storage_option
from stepflow_runtime.app.config import Config
from stepflow_runtime.app.config_file import obtain_config, override
from stepflow_runtime.app.logging import LogLevel


@click.command("serve")
@config_option
@click.option("--stdio", is_flag=True, help="Serve whoever started this process, over its stdin and stdout.")
@click.option(
    "--listen",
    envvar="STEPFLOW_LISTEN_RPC",
    show_envvar=True,
    metavar="HOST:PORT",
    help="The address, instead of what the configuration says; port 0 takes any that is free.",
)
@storage_option
@common_options(LogLevel.INFO)
def command(config_path: Path | None, stdio: bool, listen: str | None, storage_path: str | None) -> None:
    """Run a runtime until SIGTERM or Ctrl-C; runs that are unfinished then go on at the next start."""
    config = override(obtain_config(config_path), rpc=listen, storage_path=storage_path)
    warn(config.warnings)
    run_async(_serve_stdio if stdio else _serve, config)


async def _serve(config: Config) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_at_signal, nursery.cancel_scope)
        async with open_configured(config) as runtime, trio.open_nursery() as serving:
            try:
                address = await serving.start(runtime.serve_tcp)
            except OSError as error:
                raise CliError(
                    f"Cannot listen on {config.listen.rpc}: {error.strerror or error}; "
                    "stop what listens there, or choose another address with --listen."
                ) from None
            click.echo(f"stepflow {__version__} {_describe(config, f'listening on {address}')}", err=True)


async def _serve_stdio(config: Config) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_at_signal, nursery.cancel_scope)
        async with open_configured(config) as runtime:
            click.echo(f"stepflow {__version__} {_describe(config, 'serving on stdio')}", err=True)
            await runtime.serve_stdio()
        nursery.cancel_scope.cancel()


async def _stop_at_signal(scope: trio.CancelScope) -> None:
    """The first signal ends everything in order; the next one finds no handler, and kills."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            break
    scope.cancel()


def _describe(config: Config, where: str) -> str:
    count = len(config.plugins)
    return f"{where} · state in {config.storage} · {count} {'plugin' if count == 1 else 'plugins'}"
