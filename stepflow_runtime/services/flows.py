"""Flows as peers see them: validation, variables, graph."""

from __future__ import annotations

from collections.abc import Callable

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
from stepflow_runtime.ports import ComponentCatalog
from stepflow_runtime.services.flow_types import infer_flow_types


class FlowService:
    """Tells about flows.

    Args:
        programs: Finds stored flows.
        executor: Knows which components a route leads to.
        catalog: Gives who knows what the components take and give.
    """

    def __init__(self, programs: Programs, executor: Executor, catalog: Callable[[], ComponentCatalog]) -> None:
        self._programs = programs
        self._executor = executor
        self._catalog = catalog

    async def validate(self, params: FlowParams, connection: Connection) -> ValidateFlowResult:
        """`flows/validate`: the findings, the id that the flow would have if it can run, and its types, if wanted."""
        content = canonicalize(bytes(params.flow))
        flow = parse_json(content)
        findings = validate(flow, components=None if params.types else self._describe)
        can_run = not any(finding.severity is Severity.ERROR for finding in findings)
        flow_id = blob_id(content) if can_run else None
        if not params.types or not can_run:
            return ValidateFlowResult(flow_id=flow_id, diagnostics=findings)
        found, types = await infer_flow_types(flow, self._catalog())
        return ValidateFlowResult(flow_id=flow_id, diagnostics=[*findings, *found], types=types)

    def _describe(self, component: str) -> ComponentInfo | None:
        return ComponentInfo(component) if self._executor.caller.knows(component) else None

    async def variables(self, params: FlowIdParams, connection: Connection) -> VariablesResult:
        """`flows/variables`: the schema of a flow's variables; `{}` allows any."""
        flow = (await self._programs.get(BlobId(params.flow_id))).flow
        return VariablesResult({} if flow.variables_schema is UNSET else flow.variables_schema)

    async def graph(self, params: FlowIdParams, connection: Connection) -> GraphResult:
        """`flows/graph`."""
        return build_graph((await self._programs.get(BlobId(params.flow_id))).flow)
