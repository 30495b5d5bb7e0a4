"""`/metrics`, as Prometheus reads it: what it tells is what happened."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import trio
from prometheus_client.parser import text_string_to_metric_families

from protocol.methods import METHODS
from stepflow_runtime.app.config_file import parse_config
from stepflow_runtime.app.metrics import CATALOGUE
from stepflow_runtime.app.opening import open_runtime
from stepflow_runtime.model.metric import Histogram, Kind, Metric
from stepflow_runtime.web.metrics import MEDIA_TYPE, write_metric
from tests.stepflow_runtime.web.kit import ask, call, submit

SERVER: Final = """
import trio
from component_sdk import ComponentServer, StepflowContext

server = ComponentServer()


@server.component
async def work(input: str, ctx: StepflowContext) -> str:
    if input == "wait":
        await trio.sleep_forever()
    if input == "bad" or (input == "flaky" and ctx.attempt == 1):
        raise ValueError(input)
    return input


server.run()
"""
AGAIN: Final = {"action": "retry", "maxRetries": 1, "backoff": {"type": "constant", "delayMs": 1}}
WORK: Final = {
    "steps": [{"id": "work", "component": "/python/work", "input": {"$input": "$"}, "onError": AGAIN}],
    "output": {"$step": "work"},
}
ENDS: Final = ("success", "failed", "cancelled")
DASHBOARD: Final = Path(__file__).parents[3] / "deploy" / "grafana" / "stepflow.json"


class Measured:
    """What `/metrics` told."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        return self._values[f"stepflow_{name}", frozenset(labels.items())]

    def has(self, name: str, matchers: list[tuple[str, str, str]]) -> bool:
        """Whether there is something under a name with these labels, each `=` or `!=` a value."""
        return any(
            sample == name and all((dict(labels).get(label) == value) == (how == "=") for label, how, value in matchers)
            for sample, labels in self._values
        )

    def ends(self, name: str) -> tuple[float, ...]:
        return tuple(self.value(name, status=status) for status in ENDS)


def find_empty_panels(measured: Measured) -> list[tuple[str, str]]:
    """What the dashboard asks for in vain, with the titles of its panels."""
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    return [
        (panel["title"], name)
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
        for name, matchers in re.findall(r"\b((?:stepflow|process)_\w+)(?:\{([^}]*)\})?", target["expr"])
        if not measured.has(name, re.findall(r'(\w+)(=|!=)"([^"]*)"', matchers))
    ]


async def measure(web: httpx.AsyncClient) -> Measured:
    return Measured((await web.get("/metrics")).text)


@asynccontextmanager
async def open_works(folder: Path) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of a runtime with a component server of two slots, and a database that stays."""
    (folder / "server.py").write_text(SERVER)
    parts = {
        "plugins": {"python": {"type": "stepflow", "command": sys.executable, "args": ["server.py"]}},
        "routes": {"/python": [{"plugin": "python"}]},
        "storage": {"type": "sqlite", "path": "state.db"},
        "listen": {"http": "127.0.0.1:0"},
        "limits": {"maxInFlight": 2},
    }
    config = parse_config(msgspec.json.encode(parts), "stepflow-config.json", folder, {})
    with trio.fail_after(60):
        async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
            address: str = await nursery.start(runtime.serve_http)
            async with httpx.AsyncClient(base_url=address, timeout=60) as client:
                yield client
            nursery.cancel_scope.cancel()


async def wait_for(web: httpx.AsyncClient, name: str, value: float, **labels: str) -> Measured:
    """What is measured once this is so."""
    while True:
        found = await measure(web)
        if found.value(name, **labels) == value:
            return found


async def test_it_counts_what_happened_and_after_a_restart_goes_on_where_runs_are(tmp_path: Path) -> None:
    async with open_works(tmp_path) as web:
        await submit(web, WORK, ["ok"] * 40 + ["bad"] * 3 + ["flaky"] * 2, wait=True)
        await submit(web, WORK, ["ok"] * 5, wait=True)
        await web.post("/rpc", json=call("runs/get", runId="unknown"))
        cancelled = await submit(web, WORK, ["wait"] * 4)
        await ask(web, "runs/cancel", runId=cancelled, graceMs=0)
        waiting = await submit(web, WORK, ["ok", "wait", "wait", "wait"], sealed=False)
        await wait_for(web, "items_total", 48, status="success")
        before = await wait_for(web, "server_queued", 1, plugin="python")
        assert before.value("runs_created_total") == 4
        assert before.ends("runs_total") == (1, 1, 1)
        assert before.ends("items_total") == (40 + 2 + 5 + 1, 3, 4)
        assert before.value("step_retries_total", cause="component") == 5
        assert before.value("active_runs", status="running") == 1
        assert before.value("active_items", status="running") == 3
        assert before.value("server_in_flight", plugin="python", server="python") == 2
        assert before.value("server_up", plugin="python", server="python") == 1
        assert before.value("server_responses_total", plugin="python") >= 40 + 2 * (3 + 2) + 5 + 1
        work = {"plugin": "python", "component": "/python/work"}
        assert before.value("step_duration_seconds_count", **work, outcome="success") == 40 + 2 + 5 + 1
        assert before.value("step_duration_seconds_count", **work, outcome="failed") >= 2 * 3 + 2
        assert before.value("requests_total", method="runs/submit", code="ok") == 4
        assert before.value("request_duration_seconds_count", method="runs/submit") == 4
        assert before.value("run_duration_seconds_count") == 3
        assert before.value("commit_duration_seconds_count") >= 4
        assert before.value("database_size_bytes", file="database") > 0

        assert find_empty_panels(before) == []

    async with open_works(tmp_path) as web:
        again = await wait_for(web, "server_queued", 1, plugin="python")
        assert again.ends("items_total") == (0, 0, 0), "what ended before is not counted twice"
        assert again.value("runs_created_total") == 0
        assert again.value("active_runs", status="running") == 1
        assert again.value("step_retries_total", cause="recovery") >= 2
        await ask(web, "runs/cancel", runId=waiting, graceMs=0)
        after = await measure(web)
        assert after.ends("runs_total") == (0, 0, 1)
        assert after.ends("items_total") == (0, 0, 3)
        assert after.value("active_runs", status="running") == 0
        assert after.value("active_items", status="running") == 0


async def test_items_that_a_fork_takes_over_are_counted_once(web: httpx.AsyncClient) -> None:
    flow: dict[str, Any] = {"steps": [], "output": {"$input": "$.known"}}
    origin = await submit(web, flow, [{"known": 1}] * 7 + [{}] * 2, wait=True)
    counted = (await measure(web)).ends("items_total")
    assert sum(counted) == 9
    await ask(web, "runs/restart", runId=origin, items=[0, 1], wait=True)
    found = await measure(web)
    assert sum(found.ends("items_total")) == 9 + 2
    assert found.value("runs_created_total") == 2


async def test_requests_are_counted_by_how_they_were_answered_under_names_that_peers_do_not_choose(
    web: httpx.AsyncClient,
) -> None:
    for method, params in (("runs/get", {"runId": "none"}), ("runs/get", {}), ("any/thing", {}), ("what/ever", {})):
        await web.post("/rpc", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    found = await measure(web)
    assert found.value("requests_total", method="runs/get", code="runNotFound") == 1
    assert found.value("requests_total", method="runs/get", code="invalidParams") == 1
    assert found.value("requests_total", method="other", code="methodNotFound") == 2
    assert found.value("request_duration_seconds_count", method="runs/get") == 2
    methods = {sample.labels["method"] for sample in found.families["stepflow_requests"].samples}
    assert methods <= {*METHODS, "other"}


async def test_all_of_the_catalogue_is_told_with_its_kind_and_a_sentence(web: httpx.AsyncClient) -> None:
    answer = await web.get("/metrics")
    assert answer.headers["content-type"] == MEDIA_TYPE
    families = Measured(answer.text).families
    told = {metric.name.removesuffix("_total"): metric for metric in (entry.metric for entry in CATALOGUE)}
    assert set(told) == set(families)
    for name, metric in told.items():
        assert (families[name].type, families[name].documentation) == (metric.kind, metric.help)
    assert Measured(answer.text).value("ready") == 1


def test_names_are_those_that_prometheus_asks_for() -> None:
    names = [entry.metric.name for entry in CATALOGUE]
    assert len(set(names)) == len(names)
    for entry in CATALOGUE:
        name, kind = entry.metric.name, entry.metric.kind
        assert name.startswith(("stepflow_", "process_"))
        assert name.endswith("_total") == (kind is Kind.COUNTER), name
        assert kind is not Kind.HISTOGRAM or name.endswith("_seconds"), name
        assert not name.endswith(("_ms", "_kb", "_percent")), name
        assert entry.metric.help.endswith("."), name


def test_a_histogram_counts_what_is_not_above_each_bound() -> None:
    histogram = Histogram([0.1, 1])
    for value in (0.05, 0.1, 0.5, 7):
        histogram.observe(value)
    assert list(write_metric(Metric("h_seconds", Kind.HISTOGRAM, "Help."), [((), histogram)])) == [
        "# HELP h_seconds Help.",
        "# TYPE h_seconds histogram",
        'h_seconds_bucket{le="0.1"} 2',
        'h_seconds_bucket{le="1"} 3',
        'h_seconds_bucket{le="+Inf"} 4',
        "h_seconds_sum 7.65",
        "h_seconds_count 4",
    ]


def test_values_of_labels_are_escaped() -> None:
    metric = Metric("up", Kind.GAUGE, "Help.", ("plugin", "server"))
    lines = list(write_metric(metric, [(('a"b', "c\\d\ne"), 3)]))
    assert lines[-1] == 'up{plugin="a\\"b",server="c\\\\d\\ne"} 3'
