"""Figures about texts. Started with `--tcp HOST:PORT` it listens there, and any number of runtimes may dial it."""

from __future__ import annotations

from msgspec import Struct

from component_sdk import ComponentServer

server = ComponentServer()


class Text(Struct):
    text: str


@server.component
async def count(input: Text) -> int:
    """How many words a text has."""
    return len(input.text.split())


@server.component
def longest(input: Text) -> str:
    """The longest word, the first of equals; a plain function, which runs in a thread."""
    return max(input.text.split(), key=len, default="")


if __name__ == "__main__":
    server.run()
