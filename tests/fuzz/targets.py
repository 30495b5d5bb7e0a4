"""What reads bytes from outside, and what must hold whatever they are.

A target takes any bytes. It raises nothing but `AssertionError`, if a promise is broken: what a module declares to
raise is caught here, everything else is a finding.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import msgspec
import trio

from protocol import methods
from protocol.dispatch import Dispatcher
from protocol.errors import RpcError
from protocol.flows import Severity
from protocol.framing import LineSplitter
from protocol.methods import METHODS, Side
from protocol.peer import ConnectionBroken, NotificationReceived, Peer, RequestReceived
from protocol.types import Limits
from stepflow_runtime.app.config import ConfigError
from stepflow_runtime.app.config_file import parse_config
from stepflow_runtime.engine.plan import compile_plan
from stepflow_runtime.model.canonical import canonical_json, parse_json
from stepflow_runtime.model.expression_syntax import compile_expression
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.flow import parse_flow
from stepflow_runtime.model.json_value import is_array, is_equal, is_object
from stepflow_runtime.model.loader import load_document
from stepflow_runtime.model.outcome import Failure, Outcome
from stepflow_runtime.model.override import apply_overrides
from stepflow_runtime.model.patch import PatchError, json_patch, merge_patch
from stepflow_runtime.model.path import PathError, follow_path, format_path, parse_path
from stepflow_runtime.model.schema import InputChecker, Schema, SchemaError
from stepflow_runtime.model.validate import validate
from stepflow_runtime.model.variable import resolve_variables
from stepflow_runtime.web.guard import CAPABILITY_PATHS, OPEN_PATHS
from tests.fuzz import web

Target = Callable[[bytes], None]

LIMITS: Final = Limits(max_frame_bytes=512, max_batch=8)


def read_value(data: bytes) -> Any:
    """A JSON value as the runtime would have it, or `None`."""
    try:
        return parse_json(data)
    except RpcError:
        return None


def read_fields(data: bytes, *names: str) -> list[Any]:
    """The members of a JSON object, `None` for what is absent."""
    value = read_value(data)
    return [value.get(name) for name in names] if is_object(value) else [None for _ in names]


def check_brevity(error: Exception) -> None:
    assert len(str(error)) < 4096, "an error quotes little of what it refuses"


def has_errors(findings: Findings) -> bool:
    return any(finding.severity is Severity.ERROR for finding in findings)


# --- the wire --------------------------------------------------------------------------------------------------------


def wire(data: bytes) -> None:
    """However the bytes are cut: the same events, the same answers, and no more memory than a frame."""
    cuts = sorted(byte % (len(data) + 1) for byte in data[:4])
    (events, answers, is_over), pieces = converse(data, []), converse(data, cuts)
    assert (events, is_over) == (pieces[0], pieces[2])
    if is_over:  # then nothing is sent any more
        return
    assert answers == pieces[1]
    told = [answer for line in answers for answer in (line if is_array(line) else [line])]
    assert len(told) >= sum(event[0] == "request" for event in events), "each request is answered"
    assert all("result" in answer or "error" in answer for answer in told)


def converse(data: bytes, cuts: list[int]) -> tuple[list[tuple[Any, ...]], list[Any], bool]:
    """What a peer says to bytes, when it answers each request with `null`: its events, its answers, is it over."""
    peer = Peer(LIMITS, check_first_line=True, break_on_torn=True, max_queued_bytes=1 << 20)
    splitter = LineSplitter(LIMITS.max_frame_bytes)
    peer.request("a", b"{}", "token")
    peer.data_to_send()
    events: list[tuple[Any, ...]] = []
    sent = b""
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        splitter.split(data[start:end])
        held: list[bytes] = splitter._held  # pyright: ignore[reportPrivateUsage]
        assert sum(map(len, held)) <= LIMITS.max_frame_bytes + 1
        for event in peer.receive_data(data[start:end]):
            match event:
                case RequestReceived():
                    events.append(("request", event.id, event.method, event.params))
                    peer.respond(event, b"null")
                case NotificationReceived():
                    events.append(("notification", event.method, event.params))
                case ConnectionBroken():
                    events.append(("broken", str(event.error)))
                case answer:
                    events.append(("answer", answer.result, answer.error and answer.error.code))
        sent += peer.data_to_send()
    answers = [json.loads(line) for line in sent.splitlines()]
    answers = [sorted(line, key=repr) if is_array(line) else line for line in answers]
    return events, sorted(answers, key=repr), peer.is_over


async def _answer(params: Any, context: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(params))


_DISPATCHER: Final = Dispatcher(
    {
        name: _answer
        for name, method in METHODS.items()
        if method.answered_by in (Side.RUNTIME, Side.BOTH) and name not in (methods.PING.name,)
    },
    Side.RUNTIME,
)


def params(data: bytes) -> None:
    """Params of every method: read, or refused with an `RpcError`."""

    async def ask() -> None:
        for name in filter(_DISPATCHER.knows, METHODS):
            with suppress(RpcError):
                await _DISPATCHER.dispatch(name, data, None)

    trio.run(ask)


# --- JSON and YAML ---------------------------------------------------------------------------------------------------


def canonical(data: bytes) -> None:
    """What is read has one form, which is read as the same value."""
    try:
        value = parse_json(data)
    except RpcError:
        return
    written = canonical_json(value)
    again = parse_json(written)
    assert again == value
    assert canonical_json(again) == written
    assert is_equal(json.loads(data), value)


def yaml(data: bytes) -> None:
    """A file is a JSON value, or refused; each place in it can be told."""
    for source in ("flow.yaml", "flow.json"):
        try:
            document = load_document(data, source)
        except RpcError as error:
            check_brevity(error)
            continue
        with suppress(RpcError):  # too large an integer, a lone surrogate: refused when it is stored
            assert parse_json(canonical_json(document.value)) == document.value
        for pointer in ("", "/a/0", "/steps/0/id", "/0"):
            assert document.locate(pointer).startswith("flow.")


def config(data: bytes) -> None:
    """A configuration is read, or refused with a `ConfigError`."""
    with suppress(ConfigError):
        parse_config(data, "stepflow-config.yml", Path("/nowhere"), {"SET": "value", "PORT": "7"})


# --- flows -----------------------------------------------------------------------------------------------------------


def _enumerate(value: Any) -> dict[Any, Any]:
    return dict(enumerate(value)) if is_array(value) else {}


def paths(data: bytes) -> None:
    """A path that is read can be written, and leads where Python would go."""
    written, value = read_fields(data, "path", "value")
    try:
        path = parse_path(written if isinstance(written, str) else data.decode("utf-8", "replace"))
    except PathError as error:
        check_brevity(error)
        return
    with suppress(UnicodeEncodeError):  # a lone surrogate cannot be written
        assert parse_path(format_path(path)) == path
    found: Any = value
    for segment in path:
        members: dict[Any, Any] = found if isinstance(segment, str) and is_object(found) else _enumerate(found)
        if segment not in members:
            assert follow_path(path, canonical_json(value)) is None
            return
        found = members[segment]
    raw = follow_path(path, canonical_json(value))
    assert raw is not None
    assert msgspec.json.decode(raw) == found


def patches(data: bytes) -> None:
    """A patch is applied or refused, alters neither what it patches nor itself, and a merge patch is done once."""
    target, patch = read_fields(data, "target", "patch")
    before = copy.deepcopy((target, patch))
    merged = merge_patch(target, patch)
    assert merge_patch(merged, patch) == merged
    with suppress(PatchError):
        canonical_json(json_patch(target, patch))
    assert (target, patch) == before


class _Item:
    def __init__(self, input: bytes) -> None:
        self.input = input
        self.variables: Mapping[str, bytes] = {"v": input}
        self.outcomes: Mapping[str, Outcome] = {"s": input, "t": Failure("INTERNAL", "no")}


def expressions(data: bytes) -> None:
    """An expression is compiled or refused, and then has a JSON value, a failure, or needs."""
    written, input = read_fields(data, "expression", "input")
    findings = Findings()
    expression = compile_expression(written, "", findings)
    if not has_errors(findings):
        value = expression.evaluate(_Item(canonical_json(input)))
        if isinstance(value, bytes):
            parse_json(value)


def flows(data: bytes) -> None:
    """A flow without an error can be planned and patched; one with errors is refused with all of them."""
    value, overrides, variables = read_fields(data, "flow", "overrides", "variables")
    if has_errors(validate(value)):
        return
    flow = parse_flow(value)
    compile_plan(flow)
    with suppress(RpcError):
        compile_plan(parse_flow(apply_overrides(value, overrides)))
    given = {name: canonical_json(member) for name, member in variables.items()} if is_object(variables) else {}
    with suppress(RpcError):
        resolve_variables(flow.variables_schema, given)


def schemas(data: bytes) -> None:
    """A schema is used or refused, and tells of a misfit exactly if a value does not fit."""
    written, value = read_fields(data, "schema", "value")
    try:
        schema = Schema(written)
    except SchemaError as error:
        check_brevity(error)
        return
    assert bool(schema.find_misfits(value)) is not schema.is_valid(value)
    failure = InputChecker(schema).check(canonical_json(value))
    assert (failure is None) is schema.is_valid(value)


# --- HTTP ------------------------------------------------------------------------------------------------------------


def http(data: bytes) -> None:
    """A request is answered, by nothing that is our fault; without a token it is told nothing of any run."""
    answer = web.ask(data)
    assert 200 <= answer.status < 500, answer
    for name, value in answer.headers:
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", name + value), "it can be sent"
    if b"text/html" in dict(answer.headers).get(b"content-type", b""):
        assert answer.body.count(b"<script") == answer.body.count(b'<script src="/static/'), "no script but ours"
    guarded = web.ask(data, guarded=True)
    assert guarded.status >= 300 or is_open(data), guarded


def is_open(data: bytes) -> bool:
    """Whether a request is for what is told without a token."""
    target = data.partition(b"\n")[0].partition(b" ")[2]
    return unquote(target.decode("latin-1")).startswith((*OPEN_PATHS, *CAPABILITY_PATHS))


TARGETS: Final[Mapping[str, Target]] = {
    target.__name__: target
    for target in (wire, params, canonical, yaml, config, paths, patches, expressions, flows, schemas, http)
}
