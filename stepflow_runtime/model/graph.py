"""The steps of a flow and the references between them, as a graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from protocol.flows import GraphEdge, GraphNode, GraphResult
from stepflow_runtime.model.expression_syntax import compile_expression
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.flow import Flow

OUTPUT: Final = "output"
"""The target of edges that lead to the flow's output."""


def build_graph(flow: Flow) -> GraphResult:
    """The graph of a flow. An edge leads from a step to what refers to it, be it in a branch that is never taken."""
    order = {step.id: index for index, step in enumerate(flow.steps)}
    edges: list[GraphEdge] = []
    for target, value in [*((step.id, step.input) for step in flow.steps), (OUTPUT, flow.output)]:
        references = compile_expression(value, "", Findings()).references & order.keys()
        edges += [GraphEdge(source, target) for source in sorted(references, key=order.__getitem__)]
    return GraphResult([GraphNode(step.id, step.component, step.must_execute or None) for step in flow.steps], edges)


def render_mermaid(graph: GraphResult) -> str:
    """The graph as a Mermaid flowchart."""
    names = {node.id: f"step{index}" for index, node in enumerate(graph.nodes)}
    lines = ["flowchart TD"]
    for node in graph.nodes:
        emphasis = "<br/>must execute" if node.must_execute else ""
        lines.append(f'    {names[node.id]}["{_escape(node.id)}<br/>{_escape(node.component)}{emphasis}"]')
    lines.append('    output(["output"])')
    lines += [f"    {names[edge.source]} --> {names.get(edge.target, OUTPUT)}" for edge in graph.edges]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def find_cycle(references: Mapping[str, Iterable[str]]) -> list[str] | None:
    """Some cycle, as the ids along it with the first one again at the end; `None` if there is none."""
    finished: set[str] = set()
    for start in references:
        if start in finished:
            continue
        path: list[str] = [start]
        on_path = {start}
        pending = [iter(references[start])]
        while pending:
            step_id = next(pending[-1], None)
            if step_id is None:
                pending.pop()
                left = path.pop()
                on_path.discard(left)
                finished.add(left)
            elif step_id in on_path:
                return [*path[path.index(step_id) :], step_id]
            elif step_id not in finished:
                path.append(step_id)
                on_path.add(step_id)
                pending.append(iter(references.get(step_id, ())))
    return None


def find_reachable(roots: Iterable[str], references: Mapping[str, Iterable[str]]) -> set[str]:
    """The roots and all that they refer to, directly or not."""
    reached: set[str] = set()
    pending = list(roots)
    while pending:
        step_id = pending.pop()
        if step_id not in reached:
            reached.add(step_id)
            pending.extend(references.get(step_id, ()))
    return reached
