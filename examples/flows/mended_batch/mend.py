"""Runs the batch, and mends what failed of it."""

from __future__ import annotations

import json
from pathlib import Path

from component_sdk import connect
from component_sdk.sync import Run


def main() -> None:
    scans = [json.loads(line) for line in Path("inputs.jsonl").read_text().splitlines()]
    with connect(config="stepflow-config.yml") as client:
        run = client.start("flow.yaml", inputs=scans)
        run.wait()
        show("the batch", run)
        failed = [entry.item_index for entry in run.results() if entry.result.outcome == "failed"]
        fork = run.time_travel("convert", context={"rate": 0.09}, item_indexes=failed)
        fork.wait()
        show("its fork", fork)
        print(f"the batch is {run.status} still; {len(list(run.stream('read')))} scans were read for it")
        print(f"for the fork, {len(list(fork.stream('read')))}")


def show(name: str, run: Run) -> None:
    """Tells how a run ended, and each of its items."""
    print(f"{name} is {run.status}")
    for entry in run.results():
        result = entry.result
        print(f"  {entry.item_index}: {result.value if result.outcome == 'success' else result.outcome}")


if __name__ == "__main__":
    main()
