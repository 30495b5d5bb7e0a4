"""`/openapi.json` is valid, and tells of all that is served and nothing else."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.applications import Starlette
from starlette.routing import Route

from protocol.methods import Side, answered_by
from stepflow_runtime.web.app import Surroundings, make_app
from stepflow_runtime.web.openapi import describe
from stepflow_runtime.web.operations import OPERATIONS
from stepflow_runtime.web.sessions import Sessions


@pytest.fixture
def app() -> Starlette:
    """The application as it is served, to be looked at only."""
    nothing: Any = None
    return make_app(nothing, Surroundings(nothing, nothing, nothing, nothing, nothing), Sessions(secure=False))


@pytest.fixture
def document(app: Starlette) -> dict[str, Any]:
    return describe(route for route in app.routes if isinstance(route, Route))


async def test_it_is_valid_and_the_one_that_is_served(web: httpx.AsyncClient, document: dict[str, Any]) -> None:
    served = (await web.get("/openapi.json")).json()
    OpenAPIV31SpecValidator(served).validate()
    assert served == document


def test_each_route_is_in_it_and_nothing_else(app: Starlette, document: dict[str, Any]) -> None:
    served = {
        (method, re.sub(r":\w+\}", "}", route.path))
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    told = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert told == served


def test_all_but_the_console_is_explained(document: dict[str, Any]) -> None:
    explained = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if operation["tags"] != ["console"]
    }
    assert explained == set(OPERATIONS)
    assert {path for _, path in explained if "{" not in path} >= {"/rpc", "/metrics", "/openapi.json"}
    console = re.compile(r"/|/(flows|servers|login|logout|static|runs)(/.*)?")
    pages = {path for path, item in document["paths"].items() for op in item.values() if op["tags"] == ["console"]}
    assert [path for path in pages if not console.fullmatch(path)] == []


def test_each_method_can_be_called_with_its_params_and_says_its_result(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    calls = {schema["title"]: schema for name, schema in schemas.items() if name.startswith("call.")}
    assert set(calls) == {method.name for method in answered_by(Side.RUNTIME)}
    submit = calls["runs/submit"]
    assert submit["properties"]["params"] == {"$ref": "#/components/schemas/SubmitParams"}
    assert submit["x-result"] == {"$ref": "#/components/schemas/RunStatus"}
    assert "flowId" in schemas["SubmitParams"]["properties"]


async def test_what_it_says_of_answers_is_so(web: httpx.AsyncClient, document: dict[str, Any]) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        answer = await web.get(path)
        told = document["paths"][path]["get"]["responses"][str(answer.status_code)]
        assert answer.headers["content-type"] in told["content"]
    missing = await web.get("/runs/unknown/artifacts")
    assert missing.status_code == 404
    assert set(missing.json()) == {"error"}
