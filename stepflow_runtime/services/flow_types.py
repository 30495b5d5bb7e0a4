"""Types through a flow: asks the components what they take and give, and has the model draw its conclusions."""

from __future__ import annotations

from typing import Any

import trio
from msgspec import UNSET

from protocol.errors import RpcError
from protocol.flows import FlowTypes
from protocol.types import ComponentInfo
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.flow import Flow, Step, read_flow
from stepflow_runtime.model.pointer import extend
from stepflow_runtime.model.types.flow_types import MAX_TYPED_STEPS, TypedFlow
from stepflow_runtime.model.validate import check_flow, describe_unknown_component
from stepflow_runtime.ports import ComponentCatalog


async def infer_flow_types(flow_value: Any, catalog: ComponentCatalog) -> tuple[Findings, FlowTypes]:
    """The types of a flow, and what is wrong with them.

    Args:
        flow_value: A flow without errors, as JSON.
        catalog: Knows the components.

    Cancellation: nothing is left behind.
    """
    flow = read_flow(flow_value, Findings())
    inquiry = _Inquiry(catalog)
    await inquiry.ask_about(flow)
    inputs = check_flow(flow, Findings()).inputs
    references = {step_id: expression.references for step_id, expression in inputs.items()}
    types = TypedFlow(flow, references, inquiry.known, flow_value)
    for step in types.steps():
        types.note_output(step, await inquiry.infer(step, types.input_schema(step)))
        await trio.lowlevel.checkpoint()  # what was computed since the last one is bounded
    inferred = types.finish()
    return Findings([*inquiry.findings, *types.findings]), inferred


class _Inquiry:
    """What the components of one flow say; each that could not tell is asked once."""

    def __init__(self, catalog: ComponentCatalog) -> None:
        self.known: dict[str, ComponentInfo] = {}
        self.findings = Findings()
        self._catalog = catalog
        self._silent: set[str] = set()

    async def ask_about(self, flow: Flow) -> None:
        """Asks for what all components of a flow take."""
        first = {step.component: step for step in reversed(flow.steps[:MAX_TYPED_STEPS])}
        async with trio.open_nursery() as nursery:
            for step in first.values():
                nursery.start_soon(self._describe, step)

    async def _describe(self, step: Step) -> None:
        place = extend(step.pointer, "component")
        try:
            info = await self._catalog.describe(step.component)
        except RpcError as error:
            self._silent.add(step.component)
            self.findings.warn("component_unavailable", place, f"{step.component!r} is not checked: {error.message}")
            return
        if info is None:
            self.findings.warn("unknown_component", place, describe_unknown_component(step.component))
        else:
            self.known[step.component] = info

    async def infer(self, step: Step, input_schema: Any) -> Any:
        """The schema of what a step gives; `UNSET` if it is not known."""
        info = self.known.get(step.component)
        if info is None or step.component in self._silent:
            return UNSET if info is None else info.output_schema
        try:
            return await self._catalog.infer_schema(step.component, input_schema)
        except RpcError as error:
            self._silent.add(step.component)
            message = f"{step.component!r} could not infer what it gives; what it declares counts: {error.message}"
            self.findings.warn("inference_failed", extend(step.pointer, "component"), message)
            return info.output_schema
