"""`stepflow runs states`: how each item of a run is, in a letter, for programs and for a look at very many."""

from __future__ import annotations

import click
from rich.markup import escape

from protocol.link import Link
from protocol.methods import ITEM_STATES
from protocol.observing import MAX_STATES, STATES, ItemStatesParams, ItemStatesResult
from stepflow_runtime.app.cli.boundary import run_async
from stepflow_runtime.app.cli.link import open_link
from stepflow_runtime.app.cli.options import Format, common_options, output_option, url_option
from stepflow_runtime.app.cli.output import print_json, stdout

ROW_ITEMS = 100


@click.command("states")
@click.argument("run_id", metavar="RUN")
@click.option("--start", type=click.IntRange(0), default=0, show_default=True, help="The first item that is meant.")
@click.option("--limit", type=click.IntRange(1), help="How many of them; by default all that follow.")
@url_option
@output_option()
@common_options()
def states_command(run_id: str, start: int, limit: int | None, url: str, output: Format) -> None:
    """Tell how each item is: a letter an item, 100 to a line.

    p is pending, r running, u suspended, s success, f failed, c cancelled. With -o jsonl each is a line of its own.
    """
    letters: str = run_async(_read, url, run_id, start, limit)
    match output:
        case Format.JSON:
            print_json({"startIndex": start, "states": letters})
        case Format.JSONL:
            for index, letter in enumerate(letters, start):
                print_json({"itemIndex": index, "status": STATES[letter]})
        case Format.TABLE:
            width = len(f"{start + len(letters):,}")
            for first in range(0, len(letters), ROW_ITEMS):
                stdout().print(f"[dim]{start + first:>{width},}[/]  {escape(letters[first : first + ROW_ITEMS])}")


async def _read(url: str, run_id: str, start: int, limit: int | None) -> str:
    async with open_link(url) as link:
        return await _read_all(link, run_id, start, limit)


async def _read_all(link: Link, run_id: str, start: int, limit: int | None) -> str:
    letters = ""
    while limit is None or len(letters) < limit:
        left = MAX_STATES if limit is None else min(limit - len(letters), MAX_STATES)
        page: ItemStatesResult = await link.call(ITEM_STATES, ItemStatesParams(run_id, start + len(letters), left))
        letters += page.states
        if page.start_index + len(page.states) >= page.total:
            break
    return letters
