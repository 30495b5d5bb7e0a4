"""Renders pages slowly and says how far it is, in a stream that anybody can follow."""

from __future__ import annotations

from functools import partial

import trio
from msgspec import Struct

from component_sdk import ComponentServer, StepflowContext

server = ComponentServer()


class Book(Struct):
    title: str
    pages: int


@server.component
async def render(input: Book, ctx: StepflowContext) -> dict[str, object]:
    """The book as one file. Should this be executed again, pages that were rendered are not rendered again."""
    progress = ctx.stream("progress")
    pages: list[str] = []
    for number in range(1, input.pages + 1):
        pages.append(await ctx.checkpoint(f"page-{number}", partial(render_page, input.title, number)))
        await progress.write({"page": number, "of": input.pages})
    await progress.close()
    book = await ctx.put_artifact("book.txt", "\n".join(pages))
    return {"pages": len(pages), "file": book.name, "bytes": book.size}


async def render_page(title: str, number: int) -> str:
    await trio.sleep(0.02)
    return f"{title}, page {number}"


if __name__ == "__main__":
    server.run()
