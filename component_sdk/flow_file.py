"""Flows as people hold them (a file, a dict, a builder, an id), told apart and read.

YAML is read with JSON's types only: `no`, `on` and `2026-01-01` are strings, and a duplicate key is an error (FLOWS).
PyYAML is imported when the first YAML file is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import msgspec

from component_sdk.errors import SdkError
from component_sdk.flow import FlowBuilder

FlowSource: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | FlowBuilder
"""A flow id, the path of a YAML or JSON file, a flow as data, or a builder."""

_FLOW_ID: Final = re.compile(r"[a-z0-9]+:[0-9a-f]+")
_JSON_SCALARS: Final = {
    "tag:yaml.org,2002:null": (r"^(?:null|Null|NULL|~|)$", ["n", "N", "~", ""]),
    "tag:yaml.org,2002:bool": (r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    "tag:yaml.org,2002:int": (r"^-?(?:0|[1-9][0-9]*)$", list("-0123456789")),
    "tag:yaml.org,2002:float": (r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$", list("-0123456789")),
}

_JSON_OTHERS: Final = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map")


class FlowFileError(SdkError):
    """A flow file that cannot be read; the message names the file and, where it is known, the line."""


def is_flow_id(source: FlowSource) -> bool:
    """Whether it is the id of a stored flow, and not a flow or the path of one."""
    return isinstance(source, str) and _FLOW_ID.fullmatch(source) is not None


def load_flow(source: FlowSource) -> Mapping[str, Any]:
    """Get a flow as data.

    Args:
        source: Anything but an id.

    Raises:
        FlowFileError: The file is not there or not a flow.
    """
    if isinstance(source, FlowBuilder):
        return source.build()
    if isinstance(source, Mapping):
        return source
    return _read_file(Path(source))


def _read_file(path: Path) -> Mapping[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FlowFileError(f"The flow {path} cannot be read: {error.strerror}.") from error
    flow: Any = _parse_json(path, content) if path.suffix == ".json" else _parse_yaml(path, content)
    if not isinstance(flow, dict):
        raise FlowFileError(
            f"The flow {path} is a {type(flow).__name__}; a flow is a mapping with `steps` and `output`."
        )
    return cast("dict[str, Any]", flow)


def _parse_json(path: Path, content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FlowFileError(f"The flow {path} is not JSON: {error}.") from error


def _parse_yaml(path: Path, content: bytes) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise FlowFileError(f"Reading {path} needs PyYAML: `pip install PyYAML`, or give the flow as JSON.") from error
    try:
        return yaml.load(content, _yaml_loader())
    except yaml.YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None)
        place = "" if mark is None else f":{mark.line + 1}:{mark.column + 1}"
        problem = getattr(error, "problem", None) or error
        raise FlowFileError(f"The flow {path}{place} is not YAML with JSON's types: {problem}.") from error


@cache
def _yaml_loader() -> Any:
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    def construct_mapping(loader: Any, node: Any, deep: bool = False) -> Any:
        value: dict[str, Any] = {}
        for key_node, member in node.value:
            fault = _find_fault(key_node, value)
            if fault is not None:
                raise yaml.constructor.ConstructorError(None, None, fault, key_node.start_mark)
            value[key_node.value] = loader.construct_object(member, deep=True)
        return value

    known = {tag: base.yaml_constructors[tag] for tag in (*_JSON_SCALARS, *_JSON_OTHERS)}
    members: dict[str, Any] = {
        "yaml_implicit_resolvers": {},
        "yaml_constructors": {**known, None: base.construct_undefined},
        "construct_mapping": construct_mapping,
    }
    loader: Any = type("JsonTypesLoader", (base,), members)
    for tag, (pattern, first) in _JSON_SCALARS.items():
        loader.add_implicit_resolver(tag, re.compile(pattern), first)
    return loader


def _find_fault(key_node: Any, known: Collection[str]) -> str | None:
    """Why a mapping cannot have this key, which is a text as it is written, beside those that it has."""
    match key_node.value:
        case str() as key if key in known:
            return f"the key {key!r} occurs twice in one mapping"
        case "<<" if not key_node.style:
            return "the merge key << is not supported, write the fields out"
        case str():
            return None
        case _:
            return "a key must be a text"
