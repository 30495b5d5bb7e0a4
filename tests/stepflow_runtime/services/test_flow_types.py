"""`flows/validate` with types: what components say, what they do not say, and what comes of it."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from protocol.errors import ErrorCode, RpcError
from protocol.flows import Fit
from protocol.types import ComponentInfo
from stepflow_runtime.services.flow_types import infer_flow_types

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}


class FakeCatalog:
    """`/echo` gives what it is given, `/half` fails to infer, `/down` has no server; there is nothing else."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def describe(self, component: str) -> ComponentInfo | None:
        if component == "/down":
            raise RpcError(ErrorCode.RESOURCE_UNAVAILABLE, "No server is there.")
        return ComponentInfo(component, output_schema=NUMBER) if component in ("/echo", "/half") else None

    async def infer_schema(self, component: str, input_schema: Any) -> Any:
        self.asked.append(component)
        if component == "/half":
            raise RpcError(ErrorCode.COMPONENT_FAILED, "boom")
        return input_schema if component == "/echo" else UNSET


def make_flow(*components: str) -> dict[str, Any]:
    steps = [
        {"id": f"s{index}", "component": component, "input": "x" if index == 0 else {"$step": f"s{index - 1}"}}
        for index, component in enumerate(components)
    ]
    return {"steps": steps, "output": {"$step": f"s{len(steps) - 1}"}}


async def test_each_step_is_asked_what_it_gives_for_what_the_one_before_gives() -> None:
    catalog = FakeCatalog()
    findings, types = await infer_flow_types(make_flow("/echo", "/echo"), catalog)
    assert (findings, types.output, catalog.asked) == ([], {"const": "x"}, ["/echo", "/echo"])


async def test_a_component_that_cannot_infer_is_asked_once_and_what_it_declares_counts() -> None:
    catalog = FakeCatalog()
    findings, types = await infer_flow_types(make_flow("/half", "/half"), catalog)
    assert [(finding.severity, finding.code, finding.path) for finding in findings] == [
        ("warning", "inference_failed", "/steps/0/component")
    ]
    assert "what it declares counts: boom" in findings[0].message
    assert (types.output, catalog.asked) == (NUMBER, ["/half"])


async def test_components_that_are_not_there_are_told_and_their_types_unknown() -> None:
    findings, types = await infer_flow_types(make_flow("/down", "/nope", "/down"), FakeCatalog())
    assert {(finding.code, finding.path) for finding in findings} == {
        ("component_unavailable", "/steps/0/component"),
        ("unknown_component", "/steps/1/component"),
    }
    assert (types.output, [step.fit for step in types.steps]) == ({}, [Fit.UNKNOWN] * 3)
