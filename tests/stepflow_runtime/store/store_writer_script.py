"""Creates runs until it is killed; says each number on stdout once its commit was acknowledged."""

from __future__ import annotations

import sys

import trio

from stepflow_runtime.store.sqlite import open_sqlite
from tests.contracts.store_kit import create


async def main() -> None:
    async with open_sqlite(sys.argv[1]) as store, trio.open_nursery() as nursery:

        async def write(first: int) -> None:
            for number in range(first, 10_000, 8):
                await create(store, number)
                print(number, flush=True)

        for first in range(8):
            nursery.start_soon(write, first)


trio.run(main)
