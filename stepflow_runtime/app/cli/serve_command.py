"""`stepflow serve`: a runtime that clients and component servers connect to."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from stepflow_runtime import __version__
from stepflow_runtime.app.cli.boundary import CliError, run_async, warn
from stepflow_runtime.app.cli.configured import open_configured
from stepflow_runtime.app.cli.options import common_options, config_option, storage_option
from stepflow_runtime.app.config import Config
from stepflow_runtime.app.config_file import obtain_config, override
from stepflow_runtime.app.logging import LogLevel

if TYPE_CHECKING:
    from stepflow_runtime.app.runtime import Runtime


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
@click.option(
    "--http",
    envvar="STEPFLOW_LISTEN_HTTP",
    show_envvar=True,
    metavar="HOST:PORT",
    help="The address of the console and of all else over HTTP; by default what the configuration says, or none.",
)
@storage_option
@common_options(LogLevel.INFO)
def command(
    config_path: Path | None, stdio: bool, listen: str | None, http: str | None, storage_path: str | None
) -> None:
    """Run a runtime until SIGTERM or Ctrl-C; runs that are unfinished then go on at the next start.

    What is in flight may end first, within limits.drainTimeoutMs; a second signal stops at once.
    """
    config = override(obtain_config(config_path), rpc=listen, http=http, storage_path=storage_path)
    warn(config.warnings)
    run_async(_serve_stdio if stdio else serve, config)


Attend = Callable[["Runtime"], Awaitable[None]]
"""What goes on beside a runtime that serves."""


async def serve(config: Config, attend: Attend | None = None) -> None:
    """Serves on the addresses of a configuration until a signal, and tells where."""
    async with _until_signal() as signalled, open_configured(config) as runtime, trio.open_nursery() as serving:
        if attend is not None:
            serving.start_soon(attend, runtime)
        address = await _listen(serving, runtime.serve_tcp, config.listen.rpc)
        click.echo(f"stepflow {__version__} {_describe(config, f'listening on {address}')}", err=True)
        if config.listen.http is not None:
            url = await _listen(serving, runtime.serve_http, config.listen.http)
            click.echo(f"console and HTTP at {url}", err=True)
        await signalled(runtime)
        serving.cancel_scope.cancel()


async def _listen(serving: trio.Nursery, serve: Callable[..., Awaitable[None]], address: str) -> str:
    try:
        bound: str = await serving.start(serve)
    except OSError as error:
        raise CliError(
            f"Cannot listen on {address}: {error.strerror or error}; "
            "stop what listens there, or choose another address."
        ) from None
    return bound


async def _serve_stdio(config: Config) -> None:
    async with _until_signal() as signalled, open_configured(config) as runtime, trio.open_nursery() as serving:
        click.echo(f"stepflow {__version__} {_describe(config, 'serving on stdio')}", err=True)
        serving.start_soon(_drain_and_cancel, signalled, runtime, serving.cancel_scope)
        await runtime.serve_stdio()
        serving.cancel_scope.cancel()


async def _drain_and_cancel(
    signalled: Callable[[Runtime], Awaitable[None]], runtime: Runtime, scope: trio.CancelScope
) -> None:
    await signalled(runtime)
    scope.cancel()


@asynccontextmanager
async def _until_signal() -> AsyncGenerator[Callable[[Runtime], Awaitable[None]]]:
    """Gives what waits for the first signal and then drains a runtime. The next signal cancels everything at once.

    A signal that comes before that is waited for, while a runtime opens, cancels too.
    """
    first = trio.Event()
    runtimes: list[Runtime] = []
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def follow_signals() -> None:
                await anext(signals)
                first.set()
                if runtimes:
                    await anext(signals)
                    runtimes[0].stop_at_once()
                nursery.cancel_scope.cancel()

            async def wait_and_drain(runtime: Runtime) -> None:
                runtimes.append(runtime)
                await first.wait()
                await runtime.drain()

            nursery.start_soon(follow_signals)
            yield wait_and_drain
            nursery.cancel_scope.cancel()


def _describe(config: Config, where: str) -> str:
    count = len(config.plugins)
    return f"{where} · state in {config.storage} · {count} {'plugin' if count == 1 else 'plugins'}"
