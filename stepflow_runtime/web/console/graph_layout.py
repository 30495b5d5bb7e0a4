"""Where the steps of a flow stand in a drawing: in layers, each after what it refers to. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from msgspec import Struct

from protocol.flows import GraphNode, GraphResult

WIDTH: Final = 208
HEIGHT: Final = 60
GAP_X: Final = 56
GAP_Y: Final = 20
MARGIN: Final = 8
MAX_DRAWN: Final = 300
"""A flow with more steps is only listed."""

OUTPUT: Final = "output"


class Box(Struct):
    """A step in the drawing, with its upper left corner; `component` is empty for the flow's output."""

    id: str
    component: str
    x: int
    y: int


class Drawing(Struct):
    """Boxes, the paths of the arrows between them, and how large it all is."""

    boxes: list[Box]
    paths: list[str]
    width: int
    height: int


def draw(graph: GraphResult) -> Drawing | None:
    """The drawing of a flow, from left to right; `None` if it would be too large to be read."""
    if not graph.nodes or len(graph.nodes) > MAX_DRAWN:
        return None
    sources: dict[str, list[str]] = defaultdict(list)
    for edge in graph.edges:
        sources[edge.target].append(edge.source)
    nodes = {node.id: node for node in graph.nodes}
    layers = _find_layers(nodes, sources)
    places: dict[str, Box] = {}
    tallest = max(map(len, layers))
    for column, layer in enumerate(layers):
        layer.sort(key=lambda id: _find_middle(id, sources, places))
        top = MARGIN + (tallest - len(layer)) * (HEIGHT + GAP_Y) // 2
        for row, id in enumerate(layer):
            node = nodes.get(id)
            x, y = MARGIN + column * (WIDTH + GAP_X), top + row * (HEIGHT + GAP_Y)
            places[id] = Box(id, node.component if node else "", x, y)
    paths = [
        _connect(places[edge.source], places[edge.target])
        for edge in graph.edges
        if edge.source in places and edge.target in places
    ]
    width = 2 * MARGIN + len(layers) * (WIDTH + GAP_X) - GAP_X
    return Drawing(list(places.values()), paths, width, 2 * MARGIN + tallest * (HEIGHT + GAP_Y) - GAP_Y)


def _find_layers(nodes: dict[str, GraphNode], sources: dict[str, list[str]]) -> list[list[str]]:
    """Steps by the longest way to them; the output comes last. Graphs of flows have no circles."""
    depths: dict[str, int] = {}
    pending = list(nodes)
    while pending:
        id = pending[-1]
        missing = [source for source in sources[id] if source not in depths and source in nodes]
        if missing and id not in depths:
            pending += missing
            continue
        depths[id] = max((depths[source] + 1 for source in sources[id] if source in depths), default=0)
        pending.pop()
    layers: list[list[str]] = [[] for _ in range(max(depths.values()) + 1)]
    for id, depth in depths.items():
        layers[depth].append(id)
    return [*layers, [OUTPUT]] if OUTPUT not in nodes else layers


def _find_middle(id: str, sources: dict[str, list[str]], places: dict[str, Box]) -> float:
    known = [places[source].y for source in sources[id] if source in places]
    return sum(known) / len(known) if known else 0.0


def _connect(source: Box, target: Box) -> str:
    x1, y1 = source.x + WIDTH, source.y + HEIGHT // 2
    x2, y2 = target.x, target.y + HEIGHT // 2
    bend = max(GAP_X, (x2 - x1)) // 2
    return f"M{x1},{y1} C{x1 + bend},{y1} {x2 - bend},{y2} {x2},{y2}"
