"""The catalogue as an OpenRPC 1.3 document: what `rpc.discover` answers.

Made from `methods` and the Structs of `types`, so that the two never disagree. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from inspect import cleandoc
from typing import Any, Final

import msgspec

from protocol.methods import PROTOCOL_VERSION, Method, Side, answered_by

OPENRPC_VERSION: Final = "1.3.2"
_REFERENCE: Final = "#/components/schemas/{name}"


@cache
def describe(side: Side) -> dict[str, Any]:
    """The methods that a side answers.

    Args:
        side: `RUNTIME` or `SERVER`.

    Returns:
        An OpenRPC document. It is made once; do not change it.
    """
    methods = list(answered_by(side))
    types = [type_ for method in methods for type_ in (method.params, method.result) if type_ is not None]
    schemas, components = describe_types(types, _REFERENCE)
    found = iter(schemas)
    return {
        "openrpc": OPENRPC_VERSION,
        "info": {
            "title": f"Stepflow protocol, {side} side",
            "version": f"{PROTOCOL_VERSION}.0.0",
            "description": "JSON-RPC 2.0, one JSON value per line. Params are given by name.",
        },
        "methods": [
            _describe_method(method, components, next(found), next(found) if method.result is not None else None)
            for method in methods
        ],
        "components": {"schemas": components},
    }


def describe_types(types: Sequence[Any], ref_template: str) -> tuple[Sequence[dict[str, Any]], dict[str, Any]]:
    """The JSON Schemas of types, and those of the Structs that they refer to, by name; the same under every Python.

    Args:
        types: What msgspec can decode.
        ref_template: How a Struct is referred to, with `{name}`.
    """
    schemas, components = msgspec.json.schema_components(types, ref_template=ref_template)
    for shape in components.values():
        if "description" in shape:  # a docstring, which Python 3.13 has dedented already
            shape["description"] = cleandoc(shape["description"])
    return schemas, components


def _describe_method(
    method: Method, components: dict[str, Any], params: dict[str, Any], result: dict[str, Any] | None
) -> dict[str, Any]:
    shape = components[params["$ref"].rpartition("/")[2]]
    required = shape.get("required", [])
    described: dict[str, Any] = {
        "name": method.name,
        "summary": method.summary,
        "paramStructure": "by-name",
        "params": [
            {"name": name, "required": name in required, "schema": schema}
            for name, schema in shape.get("properties", {}).items()
        ],
    }
    if result is not None:  # a notification has none
        described["result"] = {"name": f"{method.name} result", "schema": result}
    return described
