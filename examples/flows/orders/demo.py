"""The main job, on 20,000 rows: `make demo`, or `python -m examples.flows.orders.demo [ROWS]`."""

from __future__ import annotations

import os
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from component_sdk import ItemEntry, connect
from examples.flows.orders.generate import generate_orders

HERE: Final = Path(__file__).parent
COLUMNS: Final = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
_console: Final = Console(highlight=False, soft_wrap=True)


def main(count: int) -> None:
    """Prices orders, and says how it went.

    Args:
        count: How many.
    """
    _use_this_python()
    _console.print(f"Pricing {count:,} orders with {HERE.name}/flow.yaml: two steps each, in two processes.")
    entries: list[ItemEntry] = []
    started_at = time.monotonic()
    with connect(config=HERE / "stepflow-config.yml") as client, Progress(*COLUMNS, console=_console) as progress:
        task = progress.add_task("orders", total=count)
        submitted_at = time.monotonic()
        run = client.start(HERE / "flow.yaml", inputs=generate_orders(count), max_concurrency=500)
        for entry in run.results(order="byCompletion"):
            entries.append(entry)
            progress.advance(task)
        seconds = time.monotonic() - submitted_at
    _console.print(f"\nDone in {seconds:.2f} s, {count / seconds:,.0f} orders a second, with every result on disk.")
    _console.print(f"Before that, the runtime took {submitted_at - started_at:.2f} s to start.\n")
    _print_sales([entry.result.value for entry in entries if entry.result.error is None])
    _print_refusals(entries)


def _use_this_python() -> None:
    """Lets `python` in the configuration mean the one that runs this."""
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))


def _print_sales(orders: list[Any]) -> None:
    table = Table(title=f"{len(orders):,} orders priced", title_justify="left", box=SIMPLE)
    for name in ("country", "orders", "total", "largest"):
        table.add_column(name, justify="left" if name == "country" else "right")
    for country in sorted({order["country"] for order in orders}):
        totals = [order["totalCents"] for order in orders if order["country"] == country]
        table.add_row(country, f"{len(totals):,}", _in_euro(sum(totals)), _in_euro(max(totals)))
    _console.print(table)


def _print_refusals(entries: list[ItemEntry]) -> None:
    errors = [entry.result.error for entry in entries if entry.result.error is not None]
    table = Table(title=f"{len(errors):,} orders refused", title_justify="left", box=SIMPLE)
    table.add_column("orders", justify="right")
    table.add_column("code")
    table.add_column("reason")
    reasons = Counter((error.code, re.sub(r"/\d+/", "/n/", error.message)) for error in errors)
    for (code, reason), occurrences in reasons.most_common():
        table.add_row(f"{occurrences:,}", code, reason)
    _console.print(table)


def _in_euro(cents: int) -> str:
    return f"{cents / 100:,.2f} €"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
