"""A flow as a file: read, and checked with the places of what is wrong in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
from msgspec import Struct

from protocol.errors import RpcError
from protocol.flows import Diagnostic, FlowTypes, Severity
from protocol.types import ComponentInfo
from stepflow_runtime.app.cli.arguments import read_file
from stepflow_runtime.app.cli.boundary import CliError
from stepflow_runtime.model.canonical import blob_id, canonical_json
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.flow import Flow, read_flow
from stepflow_runtime.model.loader import Document, load_document
from stepflow_runtime.model.quoting import Place, quote
from stepflow_runtime.model.validate import validate

ABOUT_NAMES: Final = frozenset({"unknown_field", "unknown_expression", "ignored_key"})
"""Codes of findings that are about a name, and not about its value."""


class FlowFile(Struct, frozen=True):
    """A flow and what was found in it."""

    path: Path
    document: Document
    findings: tuple[Diagnostic, ...]
    types: FlowTypes | None = None

    @property
    def flow(self) -> Flow:
        return read_flow(self.document.value, Findings())

    @property
    def name(self) -> str:
        return self.flow.name or self.path.stem

    @property
    def content(self) -> bytes:
        """What is stored: canonical JSON."""
        return canonical_json(self.document.value)

    @property
    def flow_id(self) -> str:
        return blob_id(self.content)

    @property
    def errors(self) -> list[Diagnostic]:
        return [finding for finding in self.findings if finding.severity is Severity.ERROR]

    def find(self, finding: Diagnostic) -> Place | None:
        """Where a finding is in the file."""
        return self.document.find(finding.path, name=finding.code in ABOUT_NAMES)

    def describe(self, finding: Diagnostic, indent: str = "") -> str:
        """A finding in a line with its place in the file, and below it the line that it is about."""
        return describe(self.document, finding, self.find(finding), indent)


def describe(document: Document, finding: Diagnostic, place: Place | None, indent: str = "") -> str:
    """A finding in a line with its place in the document, and below it the line that it is about."""
    where = f"{document.source}:{place}" if place else document.source
    text = f"{where}: {finding.severity}: {finding.message} [{finding.code}]"
    quoted = document.quote(place) if place else ""
    return "\n".join(f"{indent}{line}" for line in [text, *quoted.splitlines()])


def load_flow(path: Path, components: Callable[[str], ComponentInfo | None] | None = None) -> FlowFile:
    """Reads a flow and checks it.

    Args:
        path: YAML or JSON.
        components: What is known of components; without it they are not checked.

    Raises:
        CliError: It is not there, or neither YAML nor JSON.
    """
    document = load_text(path)
    try:
        canonical_json(document.value)
    except RpcError as error:
        raise CliError(f"{path}: {error.message}") from None
    return FlowFile(path, document, tuple(validate(document.value, components=components)))


def load_text(path: Path, option: str = "FLOW") -> Document:
    """Reads a YAML or JSON file, which was given as `option`.

    Raises:
        CliError: It is not there, or neither YAML nor JSON.
    """
    content = read_file(path, option)
    try:
        return load_document(content, str(path))
    except RpcError as error:
        raise CliError(f"{error.message}{_quote_refusal(content, error)}") from None


def _quote_refusal(content: bytes, error: RpcError) -> str:
    """The line of a file that cannot be read, if it is known which one that is."""
    line, column = error.data.get("line"), error.data.get("column")
    if not isinstance(line, int) or not isinstance(column, int):
        return ""
    quoted = quote(content.decode("utf-8-sig", errors="replace"), Place(line, column))
    return f"\n{quoted}" if quoted else ""


def load_valid_flow(path: Path) -> FlowFile:
    """Reads a flow that is to run; what is merely odd goes to stderr.

    Raises:
        CliError: It cannot run.
    """
    flow = load_flow(path)
    if flow.errors:
        lines = [flow.describe(error, "  ") for error in flow.errors]
        raise CliError("\n".join([f"{path} cannot run; correct it:", *lines]))
    for finding in flow.findings:
        click.echo(flow.describe(finding), err=True)
    return flow


def as_builtins(findings: tuple[Diagnostic, ...]) -> list[Any]:
    """Findings as JSON values."""
    import msgspec

    return [msgspec.to_builtins(finding) for finding in findings]
