"""The component server that is measured: it does as little as a component can, or waits."""

from __future__ import annotations

import trio
from msgspec import Struct

from component_sdk import ComponentServer

server = ComponentServer()


class Item(Struct):
    n: int


class Nap(Struct):
    ms: int


@server.component
async def double(item: Item) -> Item:
    return Item(item.n * 2)


@server.component
async def sleep(nap: Nap) -> None:
    await trio.sleep(nap.ms / 1000)


if __name__ == "__main__":
    server.run()
