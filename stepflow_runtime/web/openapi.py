"""`/openapi.json`: all that HTTP serves as an OpenAPI 3.1 document, made from the routes and the catalogue of methods.

Routes say what there is, `operations` what it means, `protocol.methods` what `/rpc` takes. Pages of the console, which
are for browsers, are told of by their paths alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.methods import PROTOCOL_VERSION, Method, Side, answered_by
from protocol.openrpc import describe_types
from stepflow_runtime import __version__
from stepflow_runtime.web.operations import OPERATIONS, REFUSED, SHAPES, Answer, Operation, Parameter, refer_to
from stepflow_runtime.web.refusal import answer_json

OPENAPI_VERSION: Final = "3.1.0"

_PAGE: Final = {"text/html": {"schema": {"type": "string"}}}
_IN_PATH: Final = re.compile(r"\{(\w+)(?::(\w+))?\}")
_TAGS: Final = {
    "methods": "All that a runtime does, as JSON-RPC.",
    "runs": "Following runs, and resuming them.",
    "artifacts": "Files that runs make.",
    "runtime": "How the runtime is.",
    "console": "Pages for browsers, and what their forms send.",
}


class OpenApi:
    """`GET /openapi.json`.

    Args:
        routes: All that are served; read at the first request.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = routes
        self._document: dict[str, Any] | None = None

    async def get(self, _: Request) -> Response:
        if self._document is None:
            self._document = describe(self._routes)
        return answer_json(self._document)


def describe(routes: Iterable[Route]) -> dict[str, Any]:
    """The document.

    Args:
        routes: What is served.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = _IN_PATH.sub(r"{\1}", route.path)
        for method in sorted((route.methods or set()) - {"HEAD"}):
            operation = OPERATIONS.get((method, path))
            paths.setdefault(path, {})[method.lower()] = {
                "operationId": _name(method, path),
                **(_describe_page() if operation is None else _describe(operation)),
                "parameters": [*_describe_path(route.path), *map(_describe_parameter, _parameters(operation))],
            }
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "Stepflow runtime over HTTP",
            "version": __version__,
            "description": f"Protocol version {PROTOCOL_VERSION}. `POST /rpc` takes every method of the wire protocol.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {}],
        "tags": [{"name": name, "description": description} for name, description in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": _describe_shapes(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Where `listen.tokenFile` is configured."}
            },
        },
    }


def _name(method: str, path: str) -> str:
    words = [word for word in re.split(r"[^A-Za-z0-9]+", path) if word]
    return "_".join([method.lower(), *words]) if words else f"{method.lower()}_root"


def _parameters(operation: Operation | None) -> tuple[Parameter, ...]:
    return () if operation is None else operation.parameters


def _describe(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": {
            **{str(status): _describe_answer(answer) for status, answer in operation.answers.items()},
            "default": _describe_answer(REFUSED),
        },
    }
    if operation.description:
        described["description"] = operation.description
    if operation.is_open:
        described["security"] = []
    if operation.body is not None:
        content = {media_type: {"schema": schema} for media_type, schema in operation.body.items()}
        described["requestBody"] = {"content": content, "required": True}
    return described


def _describe_page() -> dict[str, Any]:
    return {
        "tags": ["console"],
        "responses": {"default": {"description": "A page, or the way to one.", "content": _PAGE}},
    }


def _describe_answer(answer: Answer) -> dict[str, Any]:
    if answer.schema is None:
        return {"description": answer.description}
    return {"description": answer.description, "content": {answer.media_type: {"schema": answer.schema}}}


def _describe_path(path: str) -> Iterator[dict[str, Any]]:
    for name, kind in _IN_PATH.findall(path):
        schema = {"type": "integer" if kind == "int" else "string"}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _describe_parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": parameter.schema or {"type": "string"},
    }


def _describe_shapes() -> dict[str, Any]:
    """The shapes of all methods, and `Rpc`: any of their messages, or a batch of them."""
    methods = list(answered_by(Side.RUNTIME))
    types = [part for method in methods for part in (method.params, method.result) if part is not None]
    schemas, shapes = describe_types([*types, *SHAPES], "#/components/schemas/{name}")
    found = iter(schemas)
    calls = {
        _name_call(method): _describe_call(method, next(found), next(found) if method.result is not None else None)
        for method in methods
    }
    call: dict[str, Any] = {"anyOf": [refer_to(name) for name in calls]}
    answer = {
        "type": "object",
        "properties": {
            "jsonrpc": {"const": "2.0"},
            "id": refer_to("RpcId"),
            "result": {"description": "As `x-result` of the method says."},
            "error": {
                "type": "object",
                "properties": {"code": {"type": "integer"}, "message": {"type": "string"}, "data": {"type": "object"}},
                "required": ["code", "message"],
            },
        },
        "required": ["jsonrpc", "id"],
    }
    return {
        **shapes,
        **calls,
        "RpcId": {"type": ["string", "number", "null"]},
        "Rpc": {"anyOf": [*call["anyOf"], {"type": "array", "items": call, "minItems": 1}]},
        "RpcAnswer": {"anyOf": [answer, {"type": "array", "items": answer}]},
    }


def _name_call(method: Method) -> str:
    return "call." + re.sub(r"[^A-Za-z0-9.]+", ".", method.name).strip(".")


def _describe_call(method: Method, params: dict[str, Any], result: dict[str, Any] | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "title": method.name,
        "description": method.summary,
        "type": "object",
        "properties": {
            "jsonrpc": {"const": "2.0"},
            "id": refer_to("RpcId"),
            "method": {"const": method.name},
            "params": params,
        },
        "required": ["jsonrpc", "method"],
    }
    return described if result is None else {**described, "x-result": result}
