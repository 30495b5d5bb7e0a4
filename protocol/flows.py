"""Flows on the wire (PROTOCOL §4): checking them, their variables, their graph."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Raw

from protocol.types import CamelWire


class FlowParams(CamelWire):
    flow: Raw


class FlowIdParams(CamelWire):
    flow_id: str


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


class Diagnostic(CamelWire):
    """One finding of a validation. `path` is a JSON pointer into the flow."""

    severity: Severity
    code: str
    path: str
    message: str


class ValidateFlowResult(CamelWire, kw_only=True):
    flow_id: str | None = None
    diagnostics: list[Diagnostic]


class VariablesResult(CamelWire):
    variables: Any


class GraphNode(CamelWire):
    id: str
    component: str
    must_execute: bool | None = None


class GraphEdge(CamelWire):
    source: str
    target: str


class GraphResult(CamelWire):
    """Steps and the references between them; the target `output` is the flow's output."""

    nodes: list[GraphNode]
    edges: list[GraphEdge]
