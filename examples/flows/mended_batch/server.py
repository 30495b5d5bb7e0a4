"""Reads invoices, and converts what they ask for."""

from __future__ import annotations

from msgspec import Struct

from component_sdk import ComponentServer, StepflowContext

RATES = {"EUR": 1.0, "CHF": 1.05}

server = ComponentServer()


class Invoice(Struct):
    currency: str
    amount: float


class Sum(Struct):
    amount: float
    rate: float


@server.component
async def read(scan: str, ctx: StepflowContext) -> Invoice:
    """The costly part."""
    await ctx.stream("read").write(scan)
    currency, amount = scan.split()
    return Invoice(currency, float(amount))


@server.component
def rate(currency: str) -> float:
    return RATES[currency]


@server.component
def convert(sum: Sum) -> str:
    return f"{sum.amount * sum.rate:.2f} EUR"


if __name__ == "__main__":
    server.run()
