"""The component server that is measured: its components do as little as can be, wait, compute, or submit runs."""

from __future__ import annotations

import hashlib
from typing import Any

import trio
from msgspec import Struct

from component_sdk import Batch, ComponentServer, StepflowContext

server = ComponentServer()


class Item(Struct):
    n: int


class Nap(Struct):
    ms: int


class Parent(Struct):
    flow_id: str
    children: int


class Toil(Struct):
    rounds: int


@server.component
async def double(item: Item) -> Item:
    return Item(item.n * 2)


@server.component(batch=Batch(max_size=100))
async def double_many(items: list[Item]) -> list[Item]:
    return [Item(item.n * 2) for item in items]


@server.component
async def echo(value: Any) -> Any:
    return value


@server.component
async def sleep(nap: Nap) -> None:
    await trio.sleep(nap.ms / 1000)


@server.component
async def wait_for_ever(value: Any) -> None:
    await trio.sleep_forever()


@server.component
async def parent(family: Parent, ctx: StepflowContext) -> int:
    status = await ctx.submit_run(family.flow_id, [{"n": n} for n in range(family.children)], wait=True)
    return status.items.success


@server.component
async def compute(toil: Toil) -> str:
    return compute_digest(toil.rounds)


def compute_digest(rounds: int) -> str:
    """Keeps a processor busy for some milliseconds."""
    digest = b""
    for _ in range(rounds):
        digest = hashlib.blake2b(digest).digest()
    return digest.hex()


if __name__ == "__main__":
    server.run()
