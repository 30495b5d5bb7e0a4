"""Documents that people write, as JSON values: flows and configuration, in YAML or JSON (FLOWS).

YAML is read with JSON's types only: `no`, `on` and `2026-01-01` are strings, and a plain scalar is a number exactly if
it is one in JSON. Duplicate keys, unknown tags, merge keys and recursive or excessive aliases are refused. A refusal
names the place in the file. Takes text; who calls it has read the file.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final, NoReturn

import yaml
from msgspec import Struct
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.model import pointer as json_pointer
from stepflow_runtime.model.canonical import parse_json
from stepflow_runtime.model.quoting import Place, quote

MAX_NODES: Final = 1_000_000
"""How many values a document may have once its aliases are written out."""

MAX_NESTING: Final = 200
"""How deeply a YAML file may nest."""

_TAG: Final = "tag:yaml.org,2002:"

_ADVICE: Final = {
    "did not find expected ',' or": "; is the bracket closed?",
    "mapping values are not allowed": "; put a text that holds a colon into quotes.",
    "cannot start any token": "; indent with blanks, and put a text that begins so into quotes.",
    "did not find expected key": "; is the line indented like those before it?",
    "did not find expected '-' indicator": "; is the line indented like those before it?",
    "found unexpected end of stream": "; is the quotation mark closed?",
}
"""What to do, by what YAML says."""

_UNCLOSED: Final = ("did not find expected ',' or", "found unexpected end of stream")


class _Loader(yaml.CSafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 - the base class declares it so


for _kind, _pattern, _starts in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"-?(0|[1-9][0-9]*)", list("-0123456789")),
    ("float", r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", list("-0123456789")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(  # pyright: ignore[reportUnknownMemberType]
        _TAG + _kind, re.compile(f"(?:{_pattern})\\Z"), _starts
    )


class Document(Struct, frozen=True):
    """What was read, and where it stands."""

    value: Any
    """The JSON value."""
    source: str
    """The name of the file, for messages."""
    text: str

    def locate(self, pointer: str) -> str:
        """The place of a value as `flow.yaml:3:5`, counted from 1; if it is not there, of what it would be in."""
        place = self.find(pointer)
        return f"{self.source}:{place}" if place else self.source

    def find(self, pointer: str, *, name: bool = False) -> Place | None:
        """Where a value stands; if it is not there, what it would be in. `None` if that cannot be told.

        Args:
            pointer: A JSON pointer.
            name: Whether the name of the field is meant, and not its value.
        """
        try:
            node = yaml.compose(self.text, Loader=_Loader)
        except yaml.YAMLError:  # not all JSON is YAML: its escapes may write a character as two surrogates
            return None
        for token in json_pointer.split(pointer):
            found = _find_member(node, token)
            if found is None:
                break
            key, node = found
            if name and key is not None and pointer.endswith(json_pointer.extend("", token)):
                return _place_of(key, self.text)
        return _place_of(node, self.text) if node else None

    def quote(self, place: Place) -> str:
        """The line of a place, with the place underlined."""
        return quote(self.text, place)


def load_document(text: str | bytes, source: str = "flow.yaml") -> Document:
    """Read a document.

    Args:
        text: All of the file.
        source: The name of the file, for messages; one that ends in `.json` is read as JSON, any other as YAML.

    Raises:
        RpcError: `VALIDATION_FAILED`, with `line` and `column` in its data if it has a place, both counted from 1.
    """
    if isinstance(text, bytes):
        text = _decode(text, source)
    if source.endswith(".json"):
        return Document(_load_json(text, source), source, text)
    return Document(_load_yaml(text, source), source, text)


def _decode(raw: bytes, source: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(source, raw[: error.start].decode(), "The file is not UTF-8; save it as UTF-8.")


def _load_json(text: str, source: str) -> Any:
    raw = text.encode()
    try:
        return parse_json(raw)
    except RpcError as error:
        position = error.data.get("position")
        if position is None:
            raise RpcError(ErrorCode.VALIDATION_FAILED, f"{source}: {error.message}") from None
        _refuse(source, raw[:position].decode(errors="replace"), error.message)


def _load_yaml(text: str, source: str) -> Any:
    try:
        _check_nesting(text)
        node = yaml.compose(text, Loader=_Loader)
        return None if node is None else _Constructor().construct(node)
    except yaml.MarkedYAMLError as error:
        _refuse_yaml(source, error)
    except yaml.YAMLError as error:
        raise RpcError(ErrorCode.VALIDATION_FAILED, f"{source}: This is not YAML: {error}.") from None
    except _YamlError as error:
        _refuse_at(source, error.mark, error.message)


def _check_nesting(text: str) -> None:
    """Refuse what nests too deeply while it is still a stream of events: composing it recurses, in C."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_NESTING:
                raise _YamlError(event.start_mark, f"The file nests deeper than {MAX_NESTING} levels; flatten it.")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _YamlError(Exception):
    def __init__(self, mark: Any, message: str) -> None:
        super().__init__(message)
        self.mark = mark
        self.message = message


class _Constructor:
    """Makes values of nodes; an alias is built again each time, so that no two places share a value."""

    def __init__(self) -> None:
        self.nodes = 0
        self.open: set[int] = set()

    def construct(self, node: Node) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _YamlError(node.start_mark, f"With its aliases written out the file has over {MAX_NODES} values.")
        if isinstance(node, ScalarNode):
            return _construct_scalar(node)
        if id(node) in self.open:
            raise _YamlError(node.start_mark, "An alias refers to what it is part of; write it out.")
        self.open.add(id(node))
        value = self.construct_mapping(node) if isinstance(node, MappingNode) else self.construct_sequence(node)
        self.open.remove(id(node))
        return value

    def construct_mapping(self, node: MappingNode) -> dict[str, Any]:
        _check_tag(node, "map")
        value: dict[str, Any] = {}
        for key_node, member in node.value:
            key = _construct_key(key_node)
            if key in value:
                raise _YamlError(key_node.start_mark, f"The key {key!r} occurs twice in one mapping; keep one of them.")
            value[key] = self.construct(member)
        return value

    def construct_sequence(self, node: Node) -> list[Any]:
        _check_tag(node, "seq")
        return [self.construct(member) for member in node.value]


def _check_tag(node: Node, *kinds: str) -> None:
    if node.tag.removeprefix(_TAG) not in kinds:
        name = node.tag.replace(_TAG, "!!")
        raise _YamlError(node.start_mark, f"The tag {name} is unknown; only JSON's types can be written here.")


def _construct_key(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        raise _YamlError(node.start_mark, "A key must be a string.")
    if node.tag == _TAG + "merge":
        raise _YamlError(node.start_mark, "The merge key << is not supported; write the fields out.")
    _check_tag(node, "str", "null", "bool", "int", "float")
    return str(node.value)


def _construct_scalar(node: ScalarNode) -> Any:
    text: str = node.value
    _check_tag(node, "str", "null", "bool", "int", "float", "merge")
    try:
        match node.tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return {"true": True, "false": False}[text.lower()]
            case "int":
                return int(text)
            case "float" if not math.isfinite(number := float(text)):
                raise ValueError(number)
            case "float":
                return float(text)
            case _:
                return text
    except (ValueError, KeyError):
        raise _YamlError(node.start_mark, f"{text[:40]!r} cannot be held as the number or truth value it is.") from None


def _find_member(node: Node | None, token: str) -> tuple[Node | None, Node] | None:
    """The name, where there is one, and the value of a member."""
    if isinstance(node, MappingNode):
        return next(((key, member) for key, member in node.value if key.value == token), None)
    if isinstance(node, SequenceNode) and token.isdecimal() and int(token) < len(node.value):
        return None, node.value[int(token)]
    return None


def _place_of(node: Node, text: str) -> Place:
    """Where a node stands; of one with several lines, the first."""
    start, end = node.start_mark, node.end_mark
    if end.line == start.line:
        return Place(start.line + 1, start.column + 1, max(1, end.column - start.column))
    first = text.split("\n")[start.line].rstrip()
    return Place(start.line + 1, start.column + 1, max(1, len(first) - start.column))


def _refuse_yaml(source: str, error: yaml.MarkedYAMLError) -> NoReturn:
    """Says what is wrong, and what to do; of what is never closed, where it begins."""
    context, problem = error.context or "", error.problem or ""
    begun, noticed = error.context_mark, error.problem_mark
    is_unclosed = begun is not None and any(words in problem for words in _UNCLOSED)
    place, other = (begun, noticed) if is_unclosed else (noticed or begun, begun)
    if other is not None and other != place:
        problem += f" ({'noticed' if is_unclosed else 'begun'} at {other.line + 1}:{other.column + 1})"
    advice = next((advice for known, advice in _ADVICE.items() if known in problem), ".")
    _refuse_at(source, place, f"This is not YAML: {' '.join(filter(None, (context, problem)))}{advice}")


def _refuse_at(source: str, mark: Any, message: str) -> NoReturn:
    if mark is None:
        raise RpcError(ErrorCode.VALIDATION_FAILED, f"{source}: {message}") from None
    _raise_refusal(source, mark.line + 1, mark.column + 1, message)


def _refuse(source: str, before: str, message: str) -> NoReturn:
    _raise_refusal(source, before.count("\n") + 1, len(before) - before.rfind("\n"), message)


def _raise_refusal(source: str, line: int, column: int, message: str) -> NoReturn:
    raise RpcError(
        ErrorCode.VALIDATION_FAILED, f"{source}:{line}:{column}: {message}", line=line, column=column
    ) from None
