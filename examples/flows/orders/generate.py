"""Orders as they come in, some of them bad; the same for everybody: `python -m examples.flows.orders.generate 2000`."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from typing import Any

from examples.flows.orders.server import COUPON_PERCENT, PRICE_CENTS, SHIPPING_CENTS

BAD_SHARE = 0.08


def generate_orders(count: int) -> Iterator[dict[str, Any]]:
    """Makes up orders.

    Args:
        count: How many; a smaller count gives the first of a larger one.

    Yields:
        Orders as JSON values. About one in twelve cannot be fulfilled.
    """
    chance = random.Random(20)
    for number in range(count):
        order: dict[str, Any] = {
            "orderId": f"order-{number:05}",
            "country": chance.choice(list(SHIPPING_CENTS)),
            "coupon": chance.choice([None, None, *COUPON_PERCENT]),
            "lines": [
                {"article": article, "quantity": chance.randint(1, 6)}
                for article in chance.sample(list(PRICE_CENTS), chance.randint(1, 4))
            ],
        }
        if chance.random() < BAD_SHARE:
            _spoil(order, chance)
        yield order


def _spoil(order: dict[str, Any], chance: random.Random) -> None:
    """Does to an order what customers, and the programs of customers, do."""
    line = chance.choice(order["lines"])
    match chance.randrange(6):
        case 0:
            line["article"] = "samovar"
        case 1:
            line["quantity"] = chance.choice([0, -1, 250])
        case 2:
            line["quantity"] = "two"
        case 3:
            order["country"] = "Atlantis"
        case 4:
            del order["country"]
        case _:
            order["lines"] = []


if __name__ == "__main__":
    for row in generate_orders(int(sys.argv[1])):
        print(json.dumps(row))
