"""Flows on the wire (PROTOCOL §4): checking them, their variables, their graph."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Raw

from protocol.types import CamelWire


class FlowParams(CamelWire):
    """`types`: whether also to infer types through the flow, which asks the component servers."""

    flow: Raw
    types: bool | None = None


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


class Fit(StrEnum):
    """Whether what is given fits what is wanted. `fits` and `misfits` are certain: always, and never."""

    FITS = "fits"
    UNKNOWN = "unknown"
    MAY_MISFIT = "mayMisfit"
    MISFITS = "misfits"


class StepTypes(CamelWire, omit_defaults=False):
    """What a step is given and what it gives, as JSON Schemas; `fit`: whether the component takes it."""

    id: str
    component: str
    input: Any
    output: Any
    fit: Fit


class FlowTypes(CamelWire, omit_defaults=False):
    """The types of a flow. `output`: what an item gives; `unknown`: at how many places too little is declared."""

    steps: list[StepTypes]
    output: Any
    unknown: int


class ValidateFlowResult(CamelWire, kw_only=True):
    flow_id: str | None = None
    diagnostics: list[Diagnostic]
    types: FlowTypes | None = None


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
