"""Bytes that are nearly right: JSON of the words that each target knows, and pieces of the corpus put together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

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
    written = st.one_of(values, *top).map(_write)
    seeds = st.sampled_from([*corpus(name), b"{}"])
    pieces = st.lists(seeds | written | st.sampled_from([b"\n", b" ", b"&a *a ", b"- "]), max_size=4).map(b"".join)
    return st.binary(max_size=64) | written | pieces | st.builds(_cut, seeds, st.integers(0, 99), st.binary(max_size=4))


def _write(value: Any) -> bytes:
    return json.dumps(value).encode()


def _cut(seed: bytes, at: int, piece: bytes) -> bytes:
    at = at * len(seed) // 100
    return seed[:at] + piece + seed[at + len(piece) :]


assert WORDS.keys() == TARGETS.keys()
