"""Starts a run over expenses, and asks whoever sits there about those that wait: y, or n and a remark."""

from __future__ import annotations

import json
from pathlib import Path

from component_sdk import connect
from component_sdk.sync import Run


def main() -> None:
    expenses = [json.loads(line) for line in Path("inputs.jsonl").read_text().splitlines()]
    with connect(config="stepflow-config.yml") as client:
        run = client.start("flow.yaml", inputs=expenses)
        run.wait(wait_for="settled")
        decide(run)
        for payment in run.return_value():
            print(f"{payment['who']} gets {payment['paid']}. {payment['remark']}".rstrip())


def decide(run: Run) -> None:
    """Asks until nothing waits any more."""
    for suspension in run.suspensions:
        print(f"{suspension.payload}: approve?")
        answer, _, remark = input().partition(" ")
        decision = {"approved": answer == "y", "remark": remark}
        run.resume(decision, item_index=suspension.item_index)


if __name__ == "__main__":
    main()
