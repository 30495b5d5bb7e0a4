"""The published protocol as files, for tools in other languages; `generate` writes them into protocol/schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from protocol import openrpc
from protocol.methods import METHODS, PROTOCOL_VERSION, Side

FOLDER: Final = Path(__file__).parent.parent / "protocol" / "schema"


def describe_shapes() -> dict[str, Any]:
    """Every params and result as a JSON Schema: `#/$defs/NAME`, and by method under `x-methods`."""
    methods = [(method, method.params, method.result) for method in METHODS.values()]
    types = [part for _, params, result in methods for part in (params, result) if part is not None]
    schemas, shapes = openrpc.describe_types(types, "#/$defs/{name}")
    found = iter(schemas)
    by_method = {
        method.name: {"params": next(found), **({} if method.is_notification else {"result": next(found)})}
        for method, _, _ in methods
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Stepflow protocol, version {PROTOCOL_VERSION}",
        "x-methods": by_method,
        "$defs": shapes,
    }


FILES: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "runtime.openrpc.json": lambda: openrpc.describe(Side.RUNTIME),
    "component-server.openrpc.json": lambda: openrpc.describe(Side.SERVER),
    "protocol.schema.json": describe_shapes,
}


def render(file: str) -> str:
    """The content of one file.

    Args:
        file: Its name.
    """
    return json.dumps(FILES[file](), indent=1, ensure_ascii=False) + "\n"
