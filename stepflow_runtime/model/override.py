"""Overrides: changes to a flow's steps that a submission brings with it (FLOWS, "Execution")."""

from __future__ import annotations

import difflib
from typing import Any

from msgspec.structs import replace

from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.flow import respell_step
from stepflow_runtime.model.json_value import is_object
from stepflow_runtime.model.patch import PatchError, json_patch, merge_patch
from stepflow_runtime.model.pointer import extend, split
from stepflow_runtime.model.validate import validate


def apply_overrides(flow_value: Any, overrides: Any) -> Any:
    """Apply overrides to a valid flow.

    Args:
        flow_value: The flow as JSON; it is not altered.
        overrides: `{"steps": {"<id>": {"$type"?: "merge_patch" | "json_patch", "value": …}}}`, or `None` for none.
            The fields of a step are named in camelCase in what is patched, however the flow spells them.

    Returns:
        The flow as it is to be run.

    Raises:
        RpcError: `INVALID_PARAMS`, with `data.path`, if the overrides do not have that shape; `VALIDATION_FAILED`, with
            `data.issues`, if a step is unknown, a patch does not apply, or the flow is not valid afterwards. The path
            of an issue begins with `/overrides` where it is about them, else it is one into the flow.
    """
    patches = _read_patches(overrides)
    if not patches:
        return flow_value
    steps: list[dict[str, Any]] = flow_value.get("steps") or []
    indexes = {step["id"]: index for index, step in enumerate(steps)}
    patched = list(steps)
    findings = Findings()
    for step_id, patch in patches.items():
        place = extend("/overrides/steps", step_id)
        if step_id not in indexes:
            close = difflib.get_close_matches(step_id, indexes, 1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            findings.error("unknown_step", place, f"The flow has no step {step_id!r}{hint}")
            continue
        index = indexes[step_id]
        try:
            patched[index] = _apply_patch(respell_step(steps[index]), patch)
        except PatchError as error:
            operation = () if error.operation is None else (error.operation,)
            findings.error("bad_patch", extend(place, "value", *operation), str(error))
    findings.refuse_errors("The submission's override")
    result = {**flow_value, "steps": patched}
    found = validate(result)
    for number, finding in enumerate(found):
        found[number] = replace(finding, path=_find_origin(finding.path, steps, patches))
    found.refuse_errors("The flow with its overrides")
    return result


def _find_origin(path: str, steps: list[dict[str, Any]], patches: dict[str, dict[str, Any]]) -> str:
    """Where in the overrides a place of the flow comes from; the place itself, if it is the flow's own."""
    match split(path):
        case ["steps", index, *rest] if (patch := patches.get(steps[int(index)]["id"])) is not None:
            place = extend("/overrides/steps", steps[int(index)]["id"], "value")
        case _:
            return path
    if patch.get("$type") != "json_patch":
        is_patched = not rest or rest[0] in respell_step(patch["value"])
        return extend(place, *rest) if is_patched else path
    operations: list[dict[str, Any]] = patch["value"]
    for number, operation in reversed(list(enumerate(operations))):
        tokens = split(operation["path"])
        if rest[: len(tokens)] == tokens:
            return extend(place, number, "value", *rest[len(tokens) :])
    return path


def _read_patches(overrides: Any) -> dict[str, dict[str, Any]]:
    if overrides is None or overrides == {}:
        return {}
    steps = overrides.get("steps") if is_object(overrides) else None
    if not is_object(steps) or not is_object(overrides) or overrides.keys() != {"steps"}:
        raise _malformed('Overrides are {"steps": {"<step id>": {"value": {...}}}}.', "/overrides")
    for step_id, patch in steps.items():
        place = extend("/overrides/steps", step_id)
        if not is_object(patch) or "value" not in patch:
            raise _malformed(f'The override of step {step_id!r} needs a "value", the patch.', place)
        if patch.get("$type", "merge_patch") not in ("merge_patch", "json_patch"):
            message = f'The "$type" of the override of step {step_id!r} is "merge_patch" or "json_patch".'
            raise _malformed(message, extend(place, "$type"))
    return steps


def _apply_patch(step: dict[str, Any], patch: dict[str, Any]) -> Any:
    if patch.get("$type") == "json_patch":
        return json_patch(step, patch["value"])
    if not is_object(patch["value"]):
        raise PatchError("A merge patch of a step is an object with the fields to change.")
    return merge_patch(step, respell_step(patch["value"]))


def _malformed(message: str, path: str) -> RpcError:
    return RpcError(ErrorCode.INVALID_PARAMS, message, path=path)
