"""kill -9 of the runtime while 400 items of sub-runs are under way, again and again."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from tests.conformance.wire import RawClient, make_flow, serve
from tests.system.servers import TRACKED, config

KILLS = 4
PARENTS = 10
LEAVES = 40


def test_nothing_is_lost_or_done_again_when_the_runtime_is_killed(tmp_path: Path) -> None:
    track = tmp_path / "track"
    parts = config(tmp_path, TRACKED, storage=True, env={"TRACK": str(track)})
    run_id = ""
    ended: dict[tuple[str, int], str] = {}
    begun_before: Counter[tuple[str, str, str]] = Counter()
    for _ in range(KILLS):
        with serve(tmp_path, parts) as runtime:
            with runtime.connect() as client:
                if not run_id:
                    flow_id = client.put_flow(make_flow("/python/parent"))
                    status = client.call("runs/submit", {"flowId": flow_id, "inputs": [{}] * PARENTS})
                    run_id = status["runId"]
                else:
                    assert begun_again(track, begun_before, ended) == [], "what was committed is never executed again"
                await_progress(client, run_id, at_least=len(ended) + 40)
                ended = committed_leaves(client, run_id)
                begun_before = begun(track)
            runtime.kill()
    with serve(tmp_path, parts) as runtime, runtime.connect() as client:
        status = client.call("runs/get", {"runId": run_id, "wait": True, "includeResults": True})
        assert status["items"]["success"] == PARENTS, status["results"]
        assert [entry["result"]["value"]["sum"] for entry in status["results"]] == [sum(range(LEAVES))] * PARENTS
        children = client.call("runs/list", {"parentRunId": run_id})["runs"]
        assert len(children) == PARENTS, "every parent found its child again"
        assert {child["runId"] for child in children} == {
            entry["result"]["value"]["child"] for entry in status["results"]
        }
        assert begun_again(track, begun_before, ended) == []
    assert max(begun(track).values()) == 1, "no attempt number is used twice"
    assert len({(run, item) for run, item, _ in begun(track)}) == PARENTS * LEAVES


def begun(track: Path) -> Counter[tuple[str, str, str]]:
    """How often each (run, item, attempt) was begun."""
    lines = track.read_text().splitlines() if track.exists() else []
    return Counter((run, item, attempt) for _, run, item, attempt in map(str.split, lines))


def begun_again(
    track: Path, before: Counter[tuple[str, str, str]], ended: dict[tuple[str, int], str]
) -> list[tuple[str, str, str]]:
    """Executions of items that had ended when `before` was taken."""
    return [key for key in begun(track) - before if (key[0], int(key[1])) in ended]


def committed_leaves(client: RawClient, run_id: str) -> dict[tuple[str, int], str]:
    """When each item of the children ended, of those that have."""
    children = client.call("runs/list", {"parentRunId": run_id})["runs"]
    return {
        (child["runId"], entry["itemIndex"]): entry["completedAt"]
        for child in children
        for entry in client.call("runs/get", {"runId": child["runId"], "includeResults": True})["results"]
    }


def await_progress(client: RawClient, run_id: str, at_least: int) -> None:
    deadline = time.monotonic() + 30
    while len(committed_leaves(client, run_id)) < min(at_least, PARENTS * LEAVES - 40):
        assert time.monotonic() < deadline
        time.sleep(0.01)
