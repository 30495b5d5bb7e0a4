"""What can be asked over HTTP besides the console's pages, as OpenAPI tells it: one entry a path and method.

Only data. `openapi` makes the document of it and of the routes; a test sees to it that no route is without an entry.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from stepflow_runtime.web.health import HealthStatus
from stepflow_runtime.web.hooks import Resumed
from stepflow_runtime.web.metrics import MEDIA_TYPE as METRICS_TYPE
from stepflow_runtime.web.signing import DEFAULT_LIFE_MS, MAX_LIFE_MS, SignedLink

JSON: Final = "application/json"
ANY_FILE: Final = "*/*"
EVENTS: Final = "text/event-stream"

SHAPES: Final[tuple[type[Struct], ...]] = (HealthStatus, Resumed, SignedLink)
"""Structs that are told of here, besides those of the methods."""

Schema = dict[str, Any]


def refer_to(name: str) -> Schema:
    """A shape that stands among the components of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


class Answer(Struct, frozen=True):
    """One answer.

    Args:
        description: What it means.
        schema: Of the body; `None` for no body.
        media_type: Of the body.
    """

    description: str
    schema: Schema | None = None
    media_type: str = JSON


class Parameter(Struct, frozen=True):
    """Something after the `?`, or a header, a text if nothing else is said; those of the path are known by it."""

    name: str
    description: str
    schema: Schema | None = None
    place: str = "query"


class Operation(Struct, frozen=True, kw_only=True):
    """What a method does at a path.

    Args:
        summary: A line.
        tag: Among what it is shown.
        answers: By status; what is refused is added.
        description: More than the line.
        parameters: Besides those in the path.
        body: What is sent, by media type; `None` for nothing.
        is_open: Whether it asks for no token.
    """

    summary: str
    tag: str
    answers: dict[int, Answer]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: dict[str, Schema] | None = None
    is_open: bool = False


def _flag(name: str, description: str) -> Parameter:
    return Parameter(name, description, {"type": "string", "enum": ["", "1", "true"]})


def _number(name: str, description: str, **bounds: int) -> Parameter:
    return Parameter(name, description, {"type": "integer", **bounds})


_FILE: Final[Schema] = {}
_TEXT: Final[Schema] = {"type": "string"}
_ARTIFACT: Final[Schema] = {
    "allOf": [refer_to("Artifact")],
    "properties": {"url": {"type": "string", "format": "uri-reference"}},
    "required": ["url"],
}
_ARTIFACTS: Final[Schema] = {
    "type": "object",
    "properties": {"artifacts": {"type": "array", "items": _ARTIFACT}},
    "required": ["artifacts"],
}
_ERROR: Final[Schema] = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {"message": _TEXT, "code": {"type": "integer"}, "data": {"type": "object"}},
            "required": ["message"],
        }
    },
    "required": ["error"],
}
_LAST_EVENT: Final = Parameter(
    "Last-Event-ID", "The `id` of the last event that was seen: what follows it is told.", place="header"
)
_TRACEPARENT: Final = Parameter(
    "traceparent", "Runs that are submitted continue this trace (W3C Trace Context).", place="header"
)
_ARTIFACT_ID: Final = Parameter("artifactId", "The one with this id; by default the last one of that name.")
_RESUMED: Final = Answer("It has ended.", refer_to("RunStatus"))

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/rpc"): Operation(
        summary="Calls any method: a JSON-RPC message, or a batch of them.",
        tag="methods",
        description="Errors of methods are answered with 200, as JSON-RPC has it.",
        parameters=(_TRACEPARENT,),
        body={JSON: refer_to("Rpc")},
        answers={
            200: Answer("What the message or the batch is answered.", refer_to("RpcAnswer")),
            204: Answer("There were only notifications, which are not answered."),
        },
    ),
    ("GET", "/runs/{run_id}/events"): Operation(
        summary="What happens in a run, as it happens.",
        tag="runs",
        description="Server-sent events; the `event` is the type. The last one is `end`.",
        parameters=(
            Parameter("types", "Only these types, separated by commas."),
            _flag("includeSubRuns", "Also what happens in the runs beneath it."),
            Parameter("after", "The `id` of an event: what follows it is told. `Last-Event-ID` goes before."),
            _LAST_EVENT,
        ),
        answers={
            200: Answer("The events; the data of each is a `RunEvent`.", _TEXT, EVENTS),
            204: Answer("Nothing comes after `Last-Event-ID` any more."),
        },
    ),
    ("GET", "/runs/{run_id}/streams/{namespace}"): Operation(
        summary="A stream of a run, as it grows.",
        tag="runs",
        description="Server-sent events: a chunk an event, its index as `id`; bytes as events `base64`; at last `end`.",
        parameters=(_number("startIndex", "The first chunk; below 0 from the end."), _LAST_EVENT),
        answers={
            200: Answer("The chunks.", _TEXT, EVENTS),
            204: Answer("Nothing comes after `Last-Event-ID` any more."),
        },
    ),
    ("GET", "/runs/{run_id}/artifacts"): Operation(
        summary="The artifacts of a run.",
        tag="artifacts",
        answers={200: Answer("All of them, each with the `url` where it is.", _ARTIFACTS)},
    ),
    ("GET", "/runs/{run_id}/artifacts/{name}"): Operation(
        summary="An artifact.",
        tag="artifacts",
        parameters=(_ARTIFACT_ID, Parameter("If-None-Match", "The `ETag` of what is there already.", place="header")),
        answers={200: Answer("Its content.", _FILE, ANY_FILE), 304: Answer("It is there already.")},
    ),
    ("PUT", "/runs/{run_id}/artifacts/{name}"): Operation(
        summary="Makes the body an artifact.",
        tag="artifacts",
        parameters=(
            Parameter("type", "What it is, for people and programs."),
            _number("itemIndex", "The item that it belongs to.", minimum=0),
        ),
        body={ANY_FILE: _FILE},
        answers={201: Answer("The artifact.", _ARTIFACT)},
    ),
    ("POST", "/runs/{run_id}/artifacts/{name}"): Operation(
        summary="Makes a link to an artifact that needs no token.",
        tag="artifacts",
        parameters=(
            _ARTIFACT_ID,
            _number(
                "expiresInMs",
                f"For how long; {DEFAULT_LIFE_MS} by default.",
                minimum=1,
                maximum=MAX_LIFE_MS,
            ),
        ),
        answers={201: Answer("The link.", refer_to("SignedLink"))},
    ),
    ("GET", "/signed/{run_id}/{artifact_id}"): Operation(
        summary="An artifact, by a link that was made before.",
        tag="artifacts",
        parameters=(
            _number("expires", "When the link ends, in milliseconds since the epoch."),
            Parameter("signature", "Shows that this runtime made the link."),
        ),
        answers={200: Answer("Its content.", _FILE, ANY_FILE), 304: Answer("It is there already.")},
        is_open=True,
    ),
    ("POST", "/hooks/{token}"): Operation(
        summary="Resumes what is suspended under a token with the body.",
        tag="runs",
        description="Whoever knows the token may resume; nothing else is asked for.",
        parameters=(
            _flag("wait", "Wait for the end of the run, and answer with its results."),
            _number("timeoutMs", "For how long to wait.", minimum=0),
            Parameter("Idempotency-Key", "The same key gives the first one's answer again.", place="header"),
        ),
        body={JSON: {}},
        answers={
            200: _RESUMED,
            202: Answer("It is resumed.", {"anyOf": [refer_to("Resumed"), refer_to("RunStatus")]}),
        },
        is_open=True,
    ),
    ("GET", "/metrics"): Operation(
        summary="What is measured, for Prometheus.",
        tag="runtime",
        answers={200: Answer("The text format of Prometheus.", _TEXT, METRICS_TYPE)},
    ),
    ("GET", "/healthz"): Operation(
        summary="Whether the process lives.",
        tag="runtime",
        answers={200: Answer("It does.", refer_to("HealthStatus"))},
        is_open=True,
    ),
    ("GET", "/readyz"): Operation(
        summary="Whether work is taken.",
        tag="runtime",
        answers={
            200: Answer("It is.", refer_to("HealthStatus")),
            503: Answer("It is not, and why.", refer_to("HealthStatus")),
        },
        is_open=True,
    ),
    ("GET", "/openapi.json"): Operation(
        summary="This document.", tag="runtime", answers={200: Answer("OpenAPI 3.1.", {"type": "object"})}
    ),
}

REFUSED: Final = Answer("It is refused; the message says what to do.", _ERROR)
