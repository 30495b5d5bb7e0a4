"""`/metrics`, as Prometheus reads it."""

from __future__ import annotations

import re

import httpx

from protocol.observing import ServerInfo, ServerState
from stepflow_runtime.web import metrics


async def test_it_tells_of_the_runtime_and_its_process(web: httpx.AsyncClient) -> None:
    answer = await web.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert "stepflow_ready 1" in lines
    for line in lines:
        assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [\d.e+-]+', line), line
    values = dict(line.split(" ") for line in lines if not line.startswith("#"))
    assert float(values["process_cpu_seconds_total"]) > 0


def test_each_component_server_has_its_load_and_names_are_escaped() -> None:
    server = ServerInfo(plugin='a"b', name="c\\d\ne", state=ServerState.READY, in_flight=3, max_in_flight=7)
    lines = list(metrics._write_servers([server]))
    assert 'stepflow_server_up{plugin="a\\"b",server="c\\\\d\\ne"} 1' in lines
    assert 'stepflow_server_in_flight{plugin="a\\"b",server="c\\\\d\\ne"} 3' in lines
