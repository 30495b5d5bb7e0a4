"""Makes pictures small; large ones take their time."""

from __future__ import annotations

import trio
from msgspec import Struct

from component_sdk import ComponentServer

server = ComponentServer()

EDGE_PIXELS = 160
SECONDS_PER_MEGAPIXEL = 0.05


class Picture(Struct):
    name: str
    width: int
    height: int


@server.component
async def render(picture: Picture) -> Picture:
    """Shrinks a picture so that its longer edge fits."""
    longer = max(picture.width, picture.height)
    if longer <= 0:
        raise ValueError(f"{picture.name} has no pixels")
    await trio.sleep(picture.width * picture.height / 1e6 * SECONDS_PER_MEGAPIXEL)  # stands for the work
    scale = min(1.0, EDGE_PIXELS / longer)
    return Picture(picture.name, round(picture.width * scale), round(picture.height * scale))


if __name__ == "__main__":
    server.run()
