"""The reference of limits: those of the configuration, and those that are the code's own; `generate` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

import msgspec
from msgspec import Struct

from component_sdk import failure
from docs.configuration import read_args
from protocol import first_line, observing, recording
from stepflow_runtime.app.config import RuntimeLimits, WebhookConfig
from stepflow_runtime.connect import http_sender, introduction, stdio, tokens
from stepflow_runtime.model import canonical, expression_syntax, loader, patch, schema, schema_cost, signature
from stepflow_runtime.web import guard, sessions, signing
from stepflow_runtime.web.console import bodies

PAGE: Final = 1000
"""Of the lists that come in pages."""


class Fixed(Struct, frozen=True):
    """A limit that nobody sets.

    Args:
        module: Where it is.
        name: The constant.
        meaning: What it bounds, and what becomes of what is beyond.
    """

    module: ModuleType
    name: str
    meaning: str


FIXED: Final = (
    Fixed(canonical, "MAX_DEPTH", "How deeply JSON nests that is stored under its hash; `-32020`, `maxDepth`."),
    Fixed(loader, "MAX_NESTING", "How deeply a YAML file nests; it is refused, with the place."),
    Fixed(loader, "MAX_NODES", "Values in a YAML file with its aliases written out; it is refused, with the place."),
    Fixed(expression_syntax, "MAX_EXPRESSION_DEPTH", "How deeply expressions nest; the flow is invalid."),
    Fixed(patch, "MAX_COPIED", "Values that the copies of one JSON Patch hold; the overrides are refused."),
    Fixed(schema, "MAX_BACKTRACKS", "Steps back of one pattern with look-around on one text; it does not match then."),
    Fixed(schema_cost, "MAX_PAIRS", "Places of a schema times parts of a value that are counted; as `maxSchemaSteps`."),
    Fixed(first_line, "MAX_BYTES", "Of the first line where a token is asked for; the connection ends with `-32002`."),
    Fixed(first_line, "TIMEOUT_S", "Seconds until that line is there, after as many for TLS; the same."),
    Fixed(tokens, "MIN_TOKEN_CHARACTERS", "Of a token, at least; the token file is refused."),
    Fixed(introduction, "MAX_NAME_CHARACTERS", "Of the name of a peer; `-32602`."),
    Fixed(http_sender, "MAX_URL", "Characters of the URL of a webhook; `-32602`."),
    Fixed(signature, "MIN_SECRET_BYTES", "Of the secret of a webhook, at least; `-32602`."),
    Fixed(signature, "MAX_SECRET_BYTES", "Of the secret of a webhook, at most; `-32602`."),
    Fixed(observing, "MAX_STATES", "Items in one answer of `runs/itemStates`; `-32602`."),
    Fixed(recording, "MAX_ITEMS", "Items, and sub-runs, of a run that is recorded; `-32020`, `recordedItems`."),
    Fixed(recording, "MAX_CHUNKS", "Chunks of a stream that is recorded; `-32020`, `recordedChunks`."),
    Fixed(recording, "MAX_BLOB_BYTES", "Of a blob that is recorded; a larger one is left out, which replay tells."),
    Fixed(recording, "MAX_BLOBS", "Blobs of a recording; more are left out."),
    Fixed(signing, "MAX_LIFE_MS", "How long a signed link may lead somewhere, in ms; 400."),
    Fixed(guard, "BODY_TIMEOUT_S", "Seconds that the body of a request over HTTP may be on its way; 408."),
    Fixed(bodies, "MAX_FIELDS", "Of a form of the console; 400."),
    Fixed(sessions, "MAX_SESSIONS", "Browsers that have signed in; the oldest is forgotten."),
    Fixed(failure, "MAX_MESSAGE_CHARS", "Of the message of an error that a component raised; the rest is cut off."),
    Fixed(failure, "MAX_STACK_CHARS", "Of its traceback; the beginning is cut off."),
    Fixed(stdio, "TAIL_BYTES", "Of a server's stderr that an error quotes: the last."),
)


def write_limits() -> Iterator[str]:
    """The lines of the page."""
    yield "# Limits"
    yield "In the configuration under `limits`; the one that is hit is named in an error's `data.limit`."
    yield from _write_section(RuntimeLimits)
    yield "## Webhooks"
    yield "In the configuration under `webhooks`; see [how to use them](../how-to/webhooks.md)."
    yield from _write_section(WebhookConfig)
    yield "## Fixed"
    yield (
        "What the parsers, the protocol or the safety of others decide, and nobody sets. A page of a list has at most "
        f"{PAGE:,} entries; `limit` beyond that is `-32602`."
    )
    yield "| name | limit | |"
    yield "|---|---|---|"
    for fixed in FIXED:
        yield f"| `{fixed.name}` | {vars(fixed.module)[fixed.name]:,} | {fixed.meaning} |"


def _write_section(section: type[Struct]) -> Iterator[str]:
    """The fields of a part of the configuration."""
    meanings = read_args(section)
    yield "| name | default | |"
    yield "|---|---|---|"
    for field in msgspec.structs.fields(section):
        yield f"| `{field.encode_name}` | {_write_default(field.default)} | {meanings[field.name]} |"


def _write_default(default: Any) -> str:
    match default:
        case int():
            return f"{default:,}"
        case tuple():
            return ", ".join(map(_write_default, default)) or "none"  # pyright: ignore[reportUnknownArgumentType]
        case _:
            return "" if default is None else str(default)
