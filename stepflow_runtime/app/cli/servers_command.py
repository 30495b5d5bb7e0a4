"""`stepflow servers …`: the component servers of a runtime that serves."""

from __future__ import annotations

import click
from rich.markup import escape

from protocol.methods import LIST_SERVERS
from protocol.observing import ListServersResult, ServerInfo, ServerState
from protocol.types import Empty
from stepflow_runtime.app.cli.boundary import run_async
from stepflow_runtime.app.cli.link import open_link
from stepflow_runtime.app.cli.options import Format, common_options, output_option, url_option
from stepflow_runtime.app.cli.output import print_rows, shorten

COLUMNS = ("SERVER", "STATE", "IN FLIGHT", "PID", "TROUBLE")
STYLES = {ServerState.READY: "green", ServerState.CONNECTING: "cyan", ServerState.DOWN: "red"}


@click.group("servers")
def command() -> None:
    """Look at the component servers of a runtime that serves."""


@command.command("list")
@url_option
@output_option()
@common_options()
def list_command(url: str, output: Format) -> None:
    """List them: which are there, what each executes, why one is not there.

    With -o json also the end of what each wrote on stderr.
    """
    print_rows(output, run_async(_list, url), COLUMNS, _make_cells, "This runtime has no component servers.")


async def _list(url: str) -> list[ServerInfo]:
    async with open_link(url) as link:
        result: ListServersResult = await link.call(LIST_SERVERS, Empty())
        return result.servers


def _make_cells(server: ServerInfo) -> tuple[str, ...]:
    at_most = "" if server.max_in_flight is None else f"/{server.max_in_flight:,}"
    return (
        escape(server.name),
        f"[{STYLES[server.state]}]{server.state}[/]",
        f"{server.in_flight:,}{at_most}",
        str(server.pid or ""),
        escape(shorten(server.trouble or "", 200)),
    )
