"""The files of protocol/schema say what the code does."""

from __future__ import annotations

import json

import jsonschema_rs
import msgspec
import pytest

from docs.schema import FILES, FOLDER, render
from protocol.methods import METHODS
from protocol.runs import SubmitParams
from protocol.types import ExecuteParams, InitializeParams, Limits, Observability

SHAPES = json.loads((FOLDER / "protocol.schema.json").read_text())


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_current(file: str) -> None:
    assert (FOLDER / file).read_text() == render(file), "write it again: make docs"


def test_every_method_is_published() -> None:
    published = {
        method["name"]
        for file in ("runtime.openrpc.json", "component-server.openrpc.json")
        for method in json.loads((FOLDER / file).read_text())["methods"]
    }
    assert published == set(SHAPES["x-methods"]) == set(METHODS)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("initialize", InitializeParams(1, Limits(), ["ping"])),
        ("components/execute", ExecuteParams("/a", msgspec.Raw(b"{}"), 1, Observability(run_id="r", item_index=0))),
        ("runs/submit", SubmitParams("blake3:00", [msgspec.Raw(b"1")], wait=True, max_concurrency=5)),
    ],
)
def test_what_the_runtime_sends_fits_the_published_schema(method: str, params: msgspec.Struct) -> None:
    schema = {"$defs": SHAPES["$defs"], **SHAPES["x-methods"][method]["params"]}
    validator = jsonschema_rs.validator_for(schema)
    sent = json.loads(msgspec.json.encode(params))
    validator.validate(sent)
    required = next(iter(sent))
    assert not validator.is_valid({name: value for name, value in sent.items() if name != required})
