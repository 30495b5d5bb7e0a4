"""Bytes that are nearly right: JSON of the words that each target knows, and pieces of the corpus put together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from hypothesis import strategies as st

from protocol.methods import METHODS
from tests.fuzz.targets import TARGETS

CORPUS: Final = Path(__file__).parent / "corpus"

_WIRE: Final = "jsonrpc 2.0 id method params result error code message data runs/get 1 $/cancelRequest"
_SCHEMA: Final = (
    "$ref $defs #/$defs/a # $anchor $id $dynamicRef $dynamicAnchor allOf anyOf oneOf not if then else properties "
    "patternProperties additionalProperties unevaluatedProperties items prefixItems contains required enum const type "
    "object array string integer number pattern ^(a+)+$ (?=a)\\1 minimum multipleOf uniqueItems a b"
)
_EXPRESSION: Final = (
    '$literal $if then else $coalesce $step s t path $input $variable v default $ $.a $[0] $.a[0]["b"] a expression'
)
_FLOW: Final = (
    "flow steps id component /c input output onError action retry maxRetries backoff useDefault defaultValue fail "
    "mustExecute timeoutMs schemas variables type object is_secret env_var overrides value $type json_patch "
    f"merge_patch op add remove path from {_EXPRESSION}"
)
_HTTP: Final = (
    "GET POST PUT HEAD / /rpc /runs/$RUN /events /streams/log /artifacts/a/b.txt /items/0 /steps /states /hooks/a-hook "
    "/signed/$RUN/x /flows/ /servers /metrics /openapi.json /login /static/v/console.css ?view=items &startIndex= "
    "&limit= &cursor= &types=run.created &includeSubRuns &wait &timeoutMs=1 &expires= &signature= %00 %2e%2e/ %ff -1 "
    "host: content-type: application/x-www-form-urlencoded application/json text/html last-event-id: accept: origin: "
    "cookie: stepflow_session= authorization: Bearer if-none-match: content-length: item= step=ask label=go value= "
    f"input= token= next= {_WIRE}"
)
_PATHS: Final = (
    "/ /rpc /runs/$RUN /events /streams/log /artifacts /artifacts/a/b.txt /items/0 /steps /states /resume /cancel "
    "/pause /unpause /wake-up /restart /time-travel /hooks/a-hook /signed/$RUN/x /flows /servers /login /static/"
)
_FIELDS: Final = "view status cursor item step label value index startIndex limit text flow"
_HEADERS: Final = (
    "content-type accept last-event-id origin sec-fetch-site cookie authorization if-none-match content-length "
    "idempotency-key host"
)
WORDS: Final[Mapping[str, str]] = {
    "wire": _WIRE,
    "params": "runId flowId inputs wait observability run_id cursor limit timeoutMs data blob_type binary requests",
    "canonical": "a \\u0061 \ud800 \x00",
    "yaml": "a steps id 1 null true 0x10 1e400 <<",
    "config": "plugins type builtin stepflow mock command url accept components behaviors routes plugin storage path "
    "sqlite memory listen rpc tls tokenFile retry backoff limits maxFrameBytes secrets env file stateStore ${SET:-x}",
    "paths": "path value a b $ $.a $[0] $[\"a\"] $.a[1]['b']",
    "patches": "target patch op add remove replace move copy test path from value / /a /a/0 /a/- /~0~1 a b",
    "expressions": _EXPRESSION,
    "flows": _FLOW,
    "schemas": f"schema value {_SCHEMA}",
    "http": _HTTP,
}

_TOP: Final[Mapping[str, tuple[str, ...]]] = {
    "paths": ("path", "value"),
    "patches": ("target", "patch"),
    "expressions": ("expression", "input"),
    "flows": ("flow", "overrides", "variables"),
    "schemas": ("schema", "value"),
    "wire": ("jsonrpc", "id", "method", "params", "result", "error"),
}


def corpus(name: str) -> list[bytes]:
    """What found something in this target once, and where to begin."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


def documents(name: str) -> st.SearchStrategy[bytes]:
    """Bytes for a target."""
    words = st.sampled_from(WORDS[name].split()) | st.text(max_size=3)
    numbers = st.sampled_from([0, 1, -1, 2**63, 10**30, 1e308, 0.1]) | st.integers(-5, 5)
    values = st.recursive(
        st.none() | st.booleans() | numbers | words,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
        max_leaves=20,
    )
    top = [st.fixed_dictionaries({}, optional=dict.fromkeys(_TOP[name], values))] if name in _TOP else []
    written = _requests(words, values) if name == "http" else st.one_of(values, *top).map(_write)
    seeds = st.sampled_from([*corpus(name), b"{}"])
    pieces = st.lists(
        seeds
        | written
        | st.sampled_from([b"\n", b" ", b"&a *a ", b"- ", *WORDS[name].encode("utf-8", "replace").split()]),
        max_size=4,
    ).map(b"".join)
    return st.binary(max_size=64) | written | pieces | st.builds(_cut, seeds, st.integers(0, 99), st.binary(max_size=4))


def _requests(words: st.SearchStrategy[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Requests that are written well, and mean little."""
    paths = st.lists(st.sampled_from(_PATHS.split()) | words, min_size=1, max_size=4).map("".join)
    names = words.filter(str.isalnum) | st.sampled_from(_FIELDS.split())
    fields = st.dictionaries(names, words | values.map(json.dumps), max_size=4).map(urlencode)
    headers = st.dictionaries(st.sampled_from(_HEADERS.split()), words, max_size=3).map(
        lambda pairs: "".join(f"{name}: {value}\n" for name, value in pairs.items())
    )
    bodies = fields | values.map(json.dumps) | words
    calls = st.fixed_dictionaries(
        {"jsonrpc": st.just("2.0"), "id": values, "method": st.sampled_from([*METHODS]), "params": values}
    ).map(json.dumps)
    methods = st.sampled_from(["GET", "POST", "PUT", "HEAD"])
    written = st.builds(_write_request, methods, paths, fields, headers, bodies)
    return written | calls.map(lambda call: f"POST /rpc\n\n{call}".encode("utf-8", "replace"))


def _write_request(method: str, path: str, query: str, head: str, body: str) -> bytes:
    return f"{method} {path}?{query}\n{head}\n{body}".encode("utf-8", "replace")


def _write(value: Any) -> bytes:
    return json.dumps(value).encode()


def _cut(seed: bytes, at: int, piece: bytes) -> bytes:
    at = at * len(seed) // 100
    return seed[:at] + piece + seed[at + len(piece) :]


assert WORDS.keys() == TARGETS.keys()
