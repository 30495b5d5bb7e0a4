"""Variables: what a submission sets for a whole run, checked against the flow's schema of them (FLOWS, "Execution").

Secret ones (`is_secret: true`) are never given as literals, so that none is ever stored: what stands for them are the
tokens of `secret`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from stepflow_runtime.model.canonical import canonical_json
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.json_value import is_array, is_object
from stepflow_runtime.model.pointer import extend
from stepflow_runtime.model.schema import MAX_SCHEMA_STEPS, Schema, SchemaError


class SecretVariable(Struct, frozen=True):
    """A secret variable as a flow declares it.

    Args:
        name: Its name.
        schema: What its value looks like.
        env_var: The environment variable that the flow names for it.
    """

    name: str
    schema: dict[str, Any]
    env_var: str | None

    @property
    def is_text(self) -> bool:
        """Whether its value is a string."""
        return bool(self.schema.get("type", "string") == "string")


def resolve_variables(
    schema: Any,
    given: Mapping[str, bytes],
    secrets: Mapping[str, bytes] | None = None,
    max_schema_steps: int = MAX_SCHEMA_STEPS,
) -> dict[str, bytes]:
    """The variables of a run: those given, its secrets, and the schema's defaults for the others.

    Args:
        schema: The flow's `variables_schema`; `UNSET` allows any variables.
        given: The variables of the submission, raw JSON each; they are passed on digit for digit.
        secrets: Tokens of the secret variables that have a value, as JSON.
        max_schema_steps: What checking them may take.

    Raises:
        RpcError: `VALIDATION_FAILED`, with `data.issues`: one is missing, does not fit, or is secret and was given as a
            literal. `LIMIT_EXCEEDED` if checking them could take longer.
    """
    if schema is UNSET or schema is None:
        return dict(given)
    findings = Findings()
    properties = _read_properties(schema)
    required = schema.get("required") if is_object(schema) else None
    names = {secret.name for secret in find_secrets(schema)}
    secrets = secrets or {}
    for name in sorted(names):
        place = extend("/variables", name)
        if name in given:
            message = (
                f"The variable {name!r} is secret and cannot be given as a literal; remove it from the submission."
            )
            findings.error("secret_literal", place, message)
        elif name not in secrets and is_array(required) and name in required:
            message = (
                f"The variable {name!r} is secret and required, and this runtime has no source for its value; set "
                f"STEPFLOW_VAR_{name.upper()} where it runs, or name one in its configuration, under `secrets`."
            )
            findings.error("secret_unresolved", place, message)
    findings.refuse_errors("The submission")

    variables = dict(given)
    for name, member in properties.items():
        if name not in variables and "default" in member and not _is_secret(member):
            variables[name] = canonical_json(member["default"])
    values = {name: msgspec.json.decode(raw) for name, raw in variables.items()}
    try:
        compiled = Schema(_without(schema, names))
        compiled.require_budget("the variables", values, max_schema_steps)
        misfits = compiled.find_misfits(values, max_schema_steps)
    except SchemaError as error:
        findings.error("bad_schema", "/schemas/properties/variables", str(error))
        misfits = []
    for path, message in misfits:
        findings.error("bad_variable", extend("/variables", *path), f"{message}.")
    findings.refuse_errors("The submission")
    return {**variables, **secrets}


def find_secrets(schema: Any) -> list[SecretVariable]:
    """The secret variables, each with what its schema may refer to."""
    definitions: dict[str, Any] = {
        key: schema[key] for key in ("$defs", "definitions") if is_object(schema) and key in schema
    }
    return [
        SecretVariable(name, {**definitions, **member}, _read_env_var(member))
        for name, member in _read_properties(schema).items()
        if _is_secret(member)
    ]


def _without(schema: Any, names: set[str]) -> Any:
    """The schema of all other variables: messages about what does not fit quote values."""
    if not names:
        return schema
    properties = {name: part for name, part in schema["properties"].items() if name not in names}
    required = schema.get("required")
    kept = [name for name in required if name not in names] if is_array(required) else []
    return {**schema, "properties": properties, "required": kept}


def _read_env_var(member: dict[str, Any]) -> str | None:
    env_var = member.get("env_var", member.get("envVar"))
    return env_var if isinstance(env_var, str) and env_var else None


def _read_properties(schema: Any) -> dict[str, dict[str, Any]]:
    properties = schema.get("properties") if is_object(schema) else None
    return {name: part for name, part in properties.items() if is_object(part)} if is_object(properties) else {}


def _is_secret(member: dict[str, Any]) -> bool:
    return member.get("is_secret", member.get("isSecret")) is True
