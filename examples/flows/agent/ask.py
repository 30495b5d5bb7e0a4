"""Asks the agent, prints its turns as they come, and kills its server after one of them if that is wanted."""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

from component_sdk import connect

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--kill-after", type=int, metavar="TURN", help="kill -9 the component server after this turn")
kill_after: int | None = parser.parse_args().kill_after

notes = Path(".stepflow")
log = notes / "model.log"
log.unlink(missing_ok=True)

with connect(config="stepflow-config.yml") as client:
    run = client.start("flow.yaml", inputs=[{"start": "Basel", "goal": "Trieste"}])
    for chunk in run.stream("turns"):
        print(f"turn {chunk['turn']}: from {chunk['from']} to {chunk['to']}", flush=True)
        if chunk["turn"] == kill_after:
            os.kill(int((notes / "server.pid").read_text()), signal.SIGKILL)
            print("  the server is dead", flush=True)
    print(run.return_value())
    asked = log.read_text().split()
    print(f"The model answered {len(asked)} times, about {len(set(asked))} cities.")
    print(f"The tool was asked {len(list(client.list_runs(parent_run_id=run.id)))} times.")
