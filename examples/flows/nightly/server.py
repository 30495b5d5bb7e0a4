"""Adds up sales, and writes reports."""

from __future__ import annotations

from msgspec import Struct

from component_sdk import ComponentServer, StepflowContext

server = ComponentServer()


class Shop(Struct):
    name: str
    sold: list[float]


class Order(Struct):
    day: str
    currency: str


@server.component
def add_up(input: Shop) -> dict[str, object]:
    return {"shop": input.name, "total": round(sum(input.sold), 2)}


@server.component
async def report(input: Order, ctx: StepflowContext) -> dict[str, object]:
    """Keeps the report as an artifact of the run: whoever is told of the run's end fetches it."""
    lines = ["shop,total", "north,12.50", "south,7.25"]
    kept = await ctx.put_artifact(f"{input.day}.csv", "\n".join(lines) + "\n", type="report")
    return {"file": kept.name, "currency": input.currency}


if __name__ == "__main__":
    server.run()
