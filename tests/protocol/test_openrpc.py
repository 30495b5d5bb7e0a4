"""The catalogue as a document."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from protocol.methods import Side, answered_by
from protocol.openrpc import describe

SIDES = [Side.RUNTIME, Side.SERVER]


def find_references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*map(find_references, value.values()))
    return set().union(*map(find_references, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("side", SIDES)
def test_every_method_of_the_side_is_there_with_every_param(side: Side) -> None:
    described = {method["name"]: method for method in describe(side)["methods"]}
    assert list(described) == [method.name for method in answered_by(side)]
    for method in answered_by(side):
        names = [field.encode_name for field in msgspec.structs.fields(method.params)]
        assert [param["name"] for param in described[method.name]["params"]] == names
        assert ("result" in described[method.name]) is not method.is_notification


@pytest.mark.parametrize("side", SIDES)
def test_every_reference_leads_somewhere(side: Side) -> None:
    document = json.loads(msgspec.json.encode(describe(side)))
    schemas = document["components"]["schemas"]
    assert find_references(document) <= {f"#/components/schemas/{name}" for name in schemas}


def test_params_carry_the_names_of_the_wire_and_say_what_is_required() -> None:
    (submit,) = [method for method in describe(Side.RUNTIME)["methods"] if method["name"] == "runs/submit"]
    required = {param["name"]: param["required"] for param in submit["params"]}
    assert required["flowId"]
    assert required["inputs"]
    assert not required["maxConcurrency"]
