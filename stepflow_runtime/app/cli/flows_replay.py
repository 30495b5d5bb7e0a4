"""`stepflow flows replay`: a flow as it is now, over a run that was recorded, without a runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import UNSET, Struct
from rich.markup import escape

from protocol.recording import RecordedItem, RecordedStep, Recording, decode_recording
from protocol.runs import ItemResult
from stepflow_runtime.app.cli.arguments import read_file, read_object
from stepflow_runtime.app.cli.boundary import CliError, ExitCode
from stepflow_runtime.app.cli.flow_file import load_valid_flow
from stepflow_runtime.app.cli.json_diff import diff_json
from stepflow_runtime.app.cli.options import Format, common_options, flow_argument, output_option
from stepflow_runtime.app.cli.output import print_json, print_lines, shorten, stdout
from stepflow_runtime.connect.mock import json_key
from stepflow_runtime.engine.plan import Plan, compile_plan
from stepflow_runtime.engine.replay import Replayed, replay_item
from stepflow_runtime.model.outcome import Failure, Outcome
from stepflow_runtime.model.variable import find_secrets, resolve_variables


class Difference(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What is different from what was recorded, of a step or, without one, of the item's result.

    Args:
        kind: `input`: it is called with something else; `new`: it was not called; `gone`: it is not called any more;
            `unknown`: nobody recorded what it gives; `result`: the item's result is another one.
    """

    item_index: int
    kind: str
    message: str
    step: str | None = None
    recorded: Any = UNSET
    now: Any = UNSET


@click.command("replay")
@flow_argument
@click.argument("recording", metavar="RECORDING", type=click.Path(path_type=Path))
@click.option("--variables", metavar="JSON|@FILE", help="The flow's variables, as an object.")
@output_option()
@common_options()
def replay_command(flow: Path, recording: Path, variables: str | None, output: Format) -> int:
    """Evaluate FLOW as it is now over a run that `stepflow runs record` wrote to RECORDING, and show what differs.

    Nothing is executed: components answer what they answered then. The exit code is 1 if anything differs.
    """
    checked = load_valid_flow(flow)
    try:
        recorded = decode_recording(read_file(recording, "RECORDING"), str(recording))
    except ValueError as error:
        raise CliError(str(error)) from None
    given = {name: bytes(value) for name, value in read_object(variables, "--variables").items()} if variables else {}
    plan = compile_plan(checked.flow)
    schema = checked.flow.variables_schema
    secrets = {secret.name: msgspec.json.encode(secret.name) for secret in find_secrets(schema)}
    found = list(compare(recorded, plan, resolve_variables(schema, given, secrets)))
    match output:
        case Format.JSON:
            print_json(msgspec.to_builtins(found))
        case Format.JSONL:
            print_lines(map(msgspec.json.encode, found))
        case Format.TABLE:
            _print(recorded, found, is_same_flow=checked.flow_id == recorded.flow_id, where=recording)
    return ExitCode.FAILED if found else ExitCode.SUCCESS


def compare(recorded: Recording, plan: Plan, variables: Mapping[str, bytes]) -> Iterator[Difference]:
    """What a flow does with the items of a recording that the recorded one did not, item by item."""
    for index, item in enumerate(recorded.items):
        past = _Past(item)
        replayed = replay_item(plan, msgspec.json.encode(item.input), variables, past.answer)
        yield from _compare_item(index, past, replayed)


def _compare_item(index: int, past: _Past, replayed: Replayed) -> Iterator[Difference]:
    for step, value in replayed.calls.items():
        now, before = msgspec.json.decode(value), past.steps.get(step)
        if before is None:
            yield Difference(index, "new", "is called, and was not when recorded", step, now=now)
        elif json_key(before.input) != json_key(now):
            yield Difference(index, "input", "is called with something else", step, before.input, now)
        if step in replayed.unanswered:
            message = "gives something that is not in the recording; record a run of the new flow to know it"
            yield Difference(index, "unknown", message, step)
    if not replayed.unanswered:
        for step in sorted(past.steps.keys() - replayed.calls.keys()):
            yield Difference(index, "gone", "is not called any more", step)
    if replayed.result is not None and past.item.result is not None:
        before, now = _show(past.item.result), _show(_to_result(replayed.result))
        if json_key(before) != json_key(now):
            yield Difference(index, "result", "has another result", None, before, now)


class _Past:
    """What the steps of one item gave.

    Attributes:
        steps: Those that were called and answered, by id.
    """

    def __init__(self, item: RecordedItem) -> None:
        self.item = item
        self.steps = {step.step: step for step in item.steps if step.input is not UNSET and step.result is not None}

    def answer(self, step: str, component: str, value: bytes) -> Outcome | None:
        """What a step gives: what it gave, or, if it was called otherwise, what an equal call of another one gave."""
        key = json_key(msgspec.json.decode(value))
        same = self.steps.get(step)
        for known in [*([] if same is None else [same]), *self.steps.values()]:
            if known.component == component and json_key(known.input) == key:
                return _outcome(known)
        return None


def _outcome(step: RecordedStep) -> Outcome:
    assert step.result is not None
    error = step.result.error
    return msgspec.json.encode(step.result.value) if error is None else Failure(error.code, error.message)


def _to_result(outcome: Outcome) -> ItemResult:
    if isinstance(outcome, Failure):
        error = {"code": outcome.code, "message": outcome.message}
        return msgspec.convert({"outcome": "failed", "error": error}, ItemResult)
    return msgspec.convert({"outcome": "success", "value": msgspec.json.decode(outcome)}, ItemResult)


def _show(result: ItemResult) -> Any:
    return msgspec.to_builtins(result)


def _print(recorded: Recording, found: list[Difference], *, is_same_flow: bool, where: Path) -> None:
    for one in found:
        what = f"item {one.item_index}" if one.step is None else f"item {one.item_index}: step {one.step}"
        stdout().print(f"{escape(what)} {escape(one.message)}", highlight=False, soft_wrap=True)
        for line in _describe(one):
            stdout().print(f"    {escape(line)}", highlight=False, soft_wrap=True)
    items = "1 item" if len(recorded.items) == 1 else f"{len(recorded.items)} items"
    if not found:
        changed = "" if is_same_flow else ", though the flow is another one"
        stdout().print(f"{items} replayed, nothing differs{changed}", highlight=False)
        return
    differences = "1 difference" if len(found) == 1 else f"{len(found)} differences"
    message = f"{items} replayed, {differences}; if that is meant, record a run again to {where}"
    stdout().print(escape(message), highlight=False, soft_wrap=True)


def _describe(one: Difference) -> Iterator[str]:
    if one.recorded is UNSET:
        if one.now is not UNSET:
            yield f"input: {shorten(msgspec.json.encode(one.now).decode(), 200)}"
        return
    yield from diff_json(one.recorded, one.now, "recorded", "now")
