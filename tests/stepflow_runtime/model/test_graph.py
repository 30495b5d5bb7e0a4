"""Steps and references as a graph."""

from __future__ import annotations

from protocol.flows import GraphEdge, GraphNode
from stepflow_runtime.model.flow import parse_flow
from stepflow_runtime.model.graph import build_graph, find_cycle, find_reachable, render_mermaid

FLOW = parse_flow(
    {
        "steps": [
            {"id": "a", "component": "/x"},
            {"id": 'b "2"', "component": "/y", "mustExecute": True, "input": {"$if": {"$step": "a"}, "then": 1}},
        ],
        "output": [{"$step": 'b "2"'}, {"$step": "a"}],
    }
)


def test_an_edge_leads_from_a_step_to_what_refers_to_it() -> None:
    graph = build_graph(FLOW)
    assert graph.nodes == [GraphNode("a", "/x"), GraphNode('b "2"', "/y", True)]
    assert graph.edges == [GraphEdge("a", 'b "2"'), GraphEdge("a", "output"), GraphEdge('b "2"', "output")]


def test_a_graph_is_drawn_as_a_flowchart() -> None:
    assert render_mermaid(build_graph(FLOW)) == (
        "flowchart TD\n"
        '    step0["a<br/>/x"]\n'
        '    step1["b &quot;2&quot;<br/>/y<br/>must execute"]\n'
        '    output(["output"])\n'
        "    step0 --> step1\n"
        "    step0 --> output\n"
        "    step1 --> output\n"
    )


def test_cycles_are_found_wherever_they_are() -> None:
    assert find_cycle({"a": ["b", "c"], "b": ["c"], "c": []}) is None
    assert find_cycle({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]
    assert find_cycle({"a": ["a"]}) == ["a", "a"]
    long = {str(n): [str(n + 1)] for n in range(10_000)}
    assert find_cycle(long) is None
    assert find_cycle({**long, "10000": ["9999"]}) == ["9999", "10000", "9999"]


def test_reachable_is_what_roots_refer_to_directly_or_not() -> None:
    assert find_reachable(["a"], {"a": ["b"], "b": ["a"], "c": ["a"]}) == {"a", "b"}
