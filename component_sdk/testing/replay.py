"""Recorded runs, replayed: each call that was recorded is made again, with the components as they are now.

    replay("recordings/orders.json", server)

There is no runtime, and no flow is evaluated: `stepflow flows replay` does that. What a component asks is answered as
it was, see `past`; what it writes to streams is compared as its output is.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import trio
from msgspec import UNSET, Raw, Struct

from component_sdk.codec import Unfit, encode
from component_sdk.component import Component
from component_sdk.context import StepflowContext
from component_sdk.errors import SdkError
from component_sdk.failure import describe_failure, describe_unfit
from component_sdk.server import ComponentServer
from component_sdk.suspension import Resumes
from component_sdk.testing.execution import RUN_ID, execute_once
from component_sdk.testing.past import Past, PastRuntime, alike, is_array, is_object
from protocol.errors import EXECUTE_ERRORS, ItemErrorCode, RpcError
from protocol.recording import RecordedStep, Recording, decode_recording
from protocol.runs import ItemResult, Outcome
from protocol.types import NoAction, Observability, Resume, Suspend

BUILTIN: Final = "/builtin/"

SHOWN: Final = 20
"""How many differences are written out."""

_OWN_FAILURES: Final = frozenset(
    {ItemErrorCode.COMPONENT_FAILED, ItemErrorCode.RESOURCE_UNAVAILABLE, ItemErrorCode.INVALID_INPUT}
)
"""Failures that the component itself gives; others came from the world around it."""


class Difference(Struct, frozen=True):
    """A call that gives something else than when it was recorded, or that cannot be made any more.

    Args:
        run: The name of the flow.
        item_index, step, component: Which call it was.
        input: What it was called with.
        recorded, now: The results, as `{outcome, value | error, streams?}`.
        stale: Why the recording says nothing about the code as it is; `None` if it does.
    """

    run: str
    item_index: int
    step: str
    component: str
    input: Any
    recorded: Any = None
    now: Any = None
    stale: str | None = None

    def __str__(self) -> str:
        head = f"{self.run}, item {self.item_index}, step {self.step} ({self.component})"
        if self.stale is not None:
            return f"{head}\n    {self.stale}"
        lines = difflib.unified_diff(_lines(self.recorded), _lines(self.now), "recorded", "now", lineterm="", n=2)
        shown = [line for line in lines if not line.startswith("@@")]
        return "\n    ".join([head, f"input: {msgspec.json.encode(self.input).decode()}", *shown])


class ReplayDiffers(AssertionError):
    """Components do something else than when the run was recorded.

    Attributes:
        differences: All of them, in the order of the recording.
    """

    def __init__(self, source: str, calls: int, differences: list[Difference]) -> None:
        self.differences = differences
        stale = [one for one in differences if one.stale is not None]
        changed = [one for one in differences if one.stale is None]
        parts = [f"{source}: of {calls} recorded calls"]
        for found, what in ((changed, "differ"), (stale, "cannot be replayed")):
            if found:
                parts.append(f"{len(found)} {what}:\n")
                parts += [f"{one}\n" for one in found[:SHOWN]]
                if len(found) > SHOWN:
                    parts.append(f"… and {len(found) - SHOWN} more\n")
        parts.append(f"If that is as it should be, record the run again: stepflow runs record RUN {source}")
        super().__init__("\n".join(parts))


def replay(
    recording: str | Path | Recording,
    server: ComponentServer,
    *,
    prefix: str | None = None,
    ignore: Collection[str] = (),
) -> int:
    """Make all recorded calls again, and compare what comes with what came.

    Args:
        recording: A file made by `stepflow runs record`, or what is in one.
        server: The components as they are now.
        prefix: By what flows call the components of this server, like `/python`; calls of others are left out. By
            default all but the built-in ones are this server's.
        ignore: Names of fields that need not be alike, wherever they are in an output: times, random ids.

    Returns:
        How many calls were made.

    Raises:
        ReplayDiffers: An `AssertionError` with what differs, per item and step.
        SdkError: The file is no recording, or holds no call of such a component.
    """
    source = recording.name if isinstance(recording, Recording) else str(recording)
    if not isinstance(recording, Recording):
        try:
            recording = decode_recording(Path(recording).read_bytes(), source)
        except (OSError, ValueError) as error:
            raise SdkError(str(error)) from None
    calls, differences = 0, list[Difference]()
    for run in _iterate_runs(recording):
        past = Past(run, recording.blobs or {})
        for index, item in enumerate(run.items):
            for step in item.steps:
                if _is_of(step, prefix):
                    calls += 1
                    differences += _replay_step(past, index, step, server, frozenset(ignore))
    if not calls:
        raise SdkError(f"{source} holds no call of a component{f' beneath {prefix}' if prefix else ''}.")
    if differences:
        raise ReplayDiffers(source, calls, differences)
    return calls


def _iterate_runs(recording: Recording) -> Iterator[Recording]:
    yield recording
    for sub_run in recording.sub_runs:
        yield from _iterate_runs(sub_run)


def _is_of(step: RecordedStep, prefix: str | None) -> bool:
    """Whether a step is a call to be made: of such a component, and answered by it."""
    if prefix is None:
        is_ours = not step.component.startswith(BUILTIN)
    else:
        is_ours = step.component.startswith(prefix.rstrip("/") + "/")
    result = step.result
    return is_ours and result is not None and (result.error is None or result.error.code in _OWN_FAILURES)


def _replay_step(
    past: Past, index: int, step: RecordedStep, server: ComponentServer, ignore: frozenset[str]
) -> Iterator[Difference]:
    def differ(**what: Any) -> Difference:
        return Difference(past.run.name, index, step.step, step.component, step.input, **what)

    assert step.result is not None
    component = _find(server.components, step.component)
    if component is None:
        known = ", ".join(sorted(server.components)) or "none"
        yield differ(stale=f"The server has no such component any more; it has: {known}.")
        return
    if step.input is UNSET:
        yield differ(stale="What it was called with is not in the recording.")
        return
    runtime = past.answer()
    now = trio.run(_execute, component, step, index, runtime)
    if runtime.missing:
        yield differ(stale=f"{runtime.missing[0]}.")
    elif isinstance(now, Suspend):
        yield differ(stale=f"It suspends{f' as {now.label!r}' if now.label else ''}, which it did not when recorded.")
    else:
        recorded = _to_json(step.result, past.find_writes(index, step.step))
        given = _to_json(now, runtime.writes)
        if not alike(_without(recorded, ignore), _without(given, ignore)):
            yield differ(recorded=recorded, now=given)


def _find(components: Mapping[str, Component], recorded: str) -> Component | None:
    """The component of a path as flows write it: that ends with the component's own."""
    fitting = [path for path in components if recorded.endswith(path)]
    return components[max(fitting, key=len)] if fitting else None


async def _execute(component: Component, step: RecordedStep, index: int, runtime: PastRuntime) -> ItemResult | Suspend:
    resumes = Resumes(Resume(label, Raw(encode(data))) for label, data in (step.resumes or {}).items())
    told = Observability(run_id=RUN_ID, step_id=step.step, item_index=index)
    try:
        output = await execute_once(component, step.input, StepflowContext(runtime, told, 1, resumes))
    except Unfit as misfit:
        return _fail(describe_unfit(component.info.component, misfit))
    except Exception as error:
        return _fail(describe_failure(error))
    if isinstance(output, Suspend):
        return output
    return ItemResult(Outcome.SUCCESS, None if isinstance(output, NoAction) else output)


def _fail(error: RpcError) -> ItemResult:
    code = EXECUTE_ERRORS.get(error.code, ItemErrorCode.COMPONENT_FAILED)
    return msgspec.convert({"outcome": "failed", "error": {"code": code, "message": error.message}}, ItemResult)


def _without(value: Any, ignore: frozenset[str]) -> Any:
    """A JSON value without the fields of these names."""
    if is_object(value):
        return {name: _without(member, ignore) for name, member in value.items() if name not in ignore}
    if is_array(value):
        return [_without(member, ignore) for member in value]
    return value


def _to_json(result: ItemResult, writes: Mapping[str, list[Any]]) -> Any:
    """What is compared: the result, and what was written to streams."""
    return msgspec.to_builtins(result) | ({"streams": dict(writes)} if writes else {})


def _lines(value: Any) -> list[str]:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode().splitlines()
