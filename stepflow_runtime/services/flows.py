"""Flows as peers see them: validation, variables, graph."""

from __future__ import annotations

from msgspec import UNSET

from protocol.flows import FlowIdParams, FlowParams, GraphResult, Severity, ValidateFlowResult, VariablesResult
from protocol.types import ComponentInfo
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.programs import Programs
from stepflow_runtime.model.canonical import blob_id, canonicalize, parse_json
from stepflow_runtime.model.graph import build_graph
from stepflow_runtime.model.ids import BlobId
from stepflow_runtime.model.validate import validate


class FlowService:
    """Tells about flows.

    Args:
        programs: Finds stored flows.
        executor: Knows which components a route leads to.
    """

    def __init__(self, programs: Programs, executor: Executor) -> None:
        self._programs = programs
        self._executor = executor

    async def validate(self, params: FlowParams, connection: Connection) -> ValidateFlowResult:
        """`flows/validate`: the findings, and the id that the flow would have if it can run."""
        content = canonicalize(bytes(params.flow))
        findings = validate(parse_json(content), components=self._describe)
        can_run = not any(finding.severity is Severity.ERROR for finding in findings)
        return ValidateFlowResult(flow_id=blob_id(content) if can_run else None, diagnostics=findings)

    def _describe(self, component: str) -> ComponentInfo | None:
        return ComponentInfo(component) if self._executor.caller.knows(component) else None

    async def variables(self, params: FlowIdParams, connection: Connection) -> VariablesResult:
        """`flows/variables`: the schema of a flow's variables; `{}` allows any."""
        flow = (await self._programs.get(BlobId(params.flow_id))).flow
        return VariablesResult({} if flow.variables_schema is UNSET else flow.variables_schema)

    async def graph(self, params: FlowIdParams, connection: Connection) -> GraphResult:
        """`flows/graph`."""
        return build_graph((await self._programs.get(BlobId(params.flow_id))).flow)
