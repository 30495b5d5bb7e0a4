"""The dashboard, the alerts and what Prometheus is told ask for metrics that there are, by labels that they have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from stepflow_runtime.app.metrics import CATALOGUE
from stepflow_runtime.model.metric import Kind

ROOT: Final = Path(__file__).parent.parent.parent
DEPLOY: Final = ROOT / "deploy"
DASHBOARD: Final[dict[str, Any]] = json.loads((DEPLOY / "grafana" / "stepflow.json").read_text())
ALERTS: Final = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
METRICS: Final = {entry.metric.name: entry.metric for entry in CATALOGUE}
OF_PROMETHEUS: Final = {"job", "instance", "le"}
"""Labels that it adds by itself, and that of buckets."""

_USE: Final = re.compile(r"\b((?:stepflow|process)_\w+)(?:\{([^}]*)\})?")
_BY: Final = re.compile(r"by \(([^)]*)\)")


def read_expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (annotation["expr"] for annotation in DASHBOARD["annotations"]["list"])
    for group in ALERTS["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    page = (ROOT / "docs" / "how-to" / "watch.md").read_text()
    yield from (code for code in re.findall(r"`([^`\n]+)`", page) if code.startswith(("sum", "stepflow_", "histogram")))


@pytest.mark.parametrize("expression", sorted(set(read_expressions())))
def test_what_is_asked_for_is_measured(expression: str) -> None:
    labels: set[str] = set()
    for name, matchers in _USE.findall(expression):
        metric = METRICS.get(name) or METRICS[re.sub(r"_(bucket|sum|count)$", "", name)]
        assert (metric.kind is Kind.HISTOGRAM) == (metric.name != name), name
        assert metric.kind is not Kind.COUNTER or re.search(rf"(rate|increase)\({name}", expression), "counters grow"
        labels.update(metric.labels)
        assert set(re.findall(r"(\w+)(?:=~?|!=)\"", matchers)) <= {*metric.labels, *OF_PROMETHEUS}
    for grouped in _BY.findall(expression):
        assert set(re.split(r",\s*", grouped)) <= labels | OF_PROMETHEUS


def test_the_dashboard_can_be_read() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, f"{panel['title']} lies over another panel"
        taken |= cells
        assert panel["type"] == "row" or panel["description"].endswith("."), panel["title"]
    for target in (target for panel in panels for target in panel.get("targets", ())):
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
            assert re.search(rf"by \([^)]*\b{label}\b", target["expr"]) or label == "instance", target


def test_every_metric_of_the_runtime_is_on_the_dashboard() -> None:
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for text in read_expressions() for name, _ in _USE.findall(text)}
    assert {name for name in METRICS if name.startswith("stepflow_")} - shown == {"stepflow_build_info"}
