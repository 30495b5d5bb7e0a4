"""The shop's components: one refuses orders that cannot be fulfilled, one prices those that can. Money is in cents."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from component_sdk import ComponentServer

server = ComponentServer()

PRICE_CENTS: Final = {
    "tea-green": 450,
    "tea-black": 390,
    "coffee-house": 720,
    "coffee-decaf": 760,
    "cup-small": 990,
    "cup-large": 1290,
    "pot": 3450,
    "filter-100": 340,
}
SHIPPING_CENTS: Final = {"AT": 590, "CH": 990, "DE": 490, "FR": 690, "IT": 690, "NL": 490}
FREE_SHIPPING_FROM_CENTS: Final = 6000
COUPON_PERCENT: Final = {"SPRING": 10, "REGULAR": 5}
MAX_QUANTITY: Final = 100


class Refused(Exception):
    """An order that cannot be fulfilled, and why."""


class Line(Struct):
    article: str
    quantity: int


class Order(Struct, rename="camel"):
    order_id: str
    country: str
    lines: list[Line]
    coupon: str | None = None


class Basket(Struct, rename="camel"):
    lines: list[Line]
    country: str
    coupon: str | None


class Price(Struct, rename="camel"):
    total_cents: int
    shipping_cents: int


@server.component
async def check_order(order: Order) -> Order:
    """Refuses an order that names what we do not have or where we do not go."""
    if not order.lines:
        raise Refused("the order is empty")
    if order.country not in SHIPPING_CENTS:
        raise Refused(f"we do not ship to {order.country}")
    for line in order.lines:
        if line.article not in PRICE_CENTS:
            raise Refused(f"there is no article {line.article}")
        if not 1 <= line.quantity <= MAX_QUANTITY:
            raise Refused(f"a quantity is from 1 to {MAX_QUANTITY}, not {line.quantity}")
    return order


@server.component
async def price_order(basket: Basket) -> Price:
    """Prices the goods, takes the coupon off, and adds the shipping."""
    goods = sum(PRICE_CENTS[line.article] * line.quantity for line in basket.lines)
    goods -= goods * COUPON_PERCENT.get(basket.coupon or "", 0) // 100
    shipping = 0 if goods >= FREE_SHIPPING_FROM_CENTS else SHIPPING_CENTS[basket.country]
    return Price(total_cents=goods + shipping, shipping_cents=shipping)


if __name__ == "__main__":
    server.run()
