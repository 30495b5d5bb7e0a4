"""Changes to the steps of a flow, as people give them; tried before they are sent, so that what is wrong is quoted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from protocol.errors import RpcError
from protocol.flows import Diagnostic, Severity
from stepflow_runtime.app.cli.arguments import read_json
from stepflow_runtime.app.cli.boundary import CliError
from stepflow_runtime.app.cli.flow_file import FlowFile, describe, load_text
from stepflow_runtime.model.loader import Document
from stepflow_runtime.model.override import apply_overrides
from stepflow_runtime.model.pointer import split

OPTION: Final = "--overrides"
_PREFIX: Final = "/overrides"


def read_overrides(text: str, flow: FlowFile | str) -> dict[str, Any]:
    """Overrides that can be applied, as far as that is known here.

    Args:
        text: JSON; or `@FILE`, JSON or YAML; or `-` for stdin.
        flow: Which they are for; of a flow's id only the runtime knows whether they fit.

    Raises:
        CliError: They cannot be read, or not be applied to the flow.
    """
    document = _load(text)
    try:
        apply_overrides({} if isinstance(flow, str) else flow.document.value, document.value)
    except RpcError as error:
        issues = error.data.get("issues") or [{"code": "bad_override", "message": error.message, **error.data}]
        findings = msgspec.convert([{"severity": Severity.ERROR, **issue} for issue in issues], list[Diagnostic])
        if not isinstance(flow, str) or "issues" not in error.data:
            lines = [_describe(finding, document, flow) for finding in findings]
            raise CliError("\n".join([f"{document.source} cannot be used; correct it:", *lines])) from None
    overrides: dict[str, Any] = document.value or {}
    return overrides


def _load(text: str) -> Document:
    if text.startswith("@"):
        return load_text(Path(text[1:]), OPTION)
    raw = read_json(text, OPTION)
    return Document(msgspec.json.decode(raw), "stdin" if text == "-" else OPTION, raw.decode())


def _describe(finding: Diagnostic, overrides: Document, flow: FlowFile | str) -> str:
    if not finding.path.startswith(_PREFIX) and not isinstance(flow, str):
        return flow.describe(finding, "  ")
    path = finding.path.removeprefix(_PREFIX)
    is_name = len(split(path)) == 2  # of a step
    return describe(overrides, finding, overrides.find(path, name=is_name), "  ")
