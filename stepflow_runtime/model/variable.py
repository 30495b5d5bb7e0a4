"""Variables: what a submission sets for a whole run, checked against the flow's schema of them (FLOWS, "Execution").

Secret ones (`is_secret: true`) are never given as literals, so that none is ever stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from stepflow_runtime.model.canonical import canonical_json
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.json_value import is_array, is_object
from stepflow_runtime.model.pointer import extend
from stepflow_runtime.model.schema import Schema, SchemaError


def resolve_variables(schema: Any, given: Mapping[str, bytes]) -> dict[str, bytes]:
    """The variables of a run: those given, and the schema's defaults for the others.

    Args:
        schema: The flow's `variables_schema`; `UNSET` allows any variables.
        given: The variables of the submission, raw JSON each; they are passed on digit for digit.

    Raises:
        RpcError: `VALIDATION_FAILED`, with `data.issues`: one is missing, does not fit, or is secret and was given as a
            literal.
    """
    if schema is UNSET or schema is None:
        return dict(given)
    findings = Findings()
    properties = _read_properties(schema)
    required = schema.get("required") if is_object(schema) else None
    for name in find_secrets(schema):
        place = extend("/variables", name)
        if name in given:
            message = (
                f"The variable {name!r} is secret and cannot be given as a literal; remove it from the submission."
            )
            findings.error("secret_literal", place, message)
        elif is_array(required) and name in required:
            message = f"The variable {name!r} is secret and required, and this runtime has no source for its value."
            findings.error("secret_unresolved", place, message)
    findings.refuse_errors("The submission")

    variables = dict(given)
    for name, member in properties.items():
        if name not in variables and "default" in member and not _is_secret(member):
            variables[name] = canonical_json(member["default"])
    values = {name: msgspec.json.decode(raw) for name, raw in variables.items()}
    try:
        misfits = Schema(schema).find_misfits(values)
    except SchemaError as error:
        findings.error("bad_schema", "/schemas/properties/variables", str(error))
        misfits = []
    for path, message in misfits:
        findings.error("bad_variable", extend("/variables", *path), f"{message}.")
    findings.refuse_errors("The submission")
    return variables


def find_secrets(schema: Any) -> list[str]:
    """The names of the secret variables."""
    return [name for name, member in _read_properties(schema).items() if _is_secret(member)]


def _read_properties(schema: Any) -> dict[str, dict[str, Any]]:
    properties = schema.get("properties") if is_object(schema) else None
    return {name: part for name, part in properties.items() if is_object(part)} if is_object(properties) else {}


def _is_secret(member: dict[str, Any]) -> bool:
    return member.get("is_secret", member.get("isSecret")) is True
